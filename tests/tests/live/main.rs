//! Ring 3: real containers on the real kernel, known loads, exact totals.
//!
//! Needs root, Docker (`DOCKER_HOST` or the usual socket), a disk (`TARE_TEST_DIR`, by default
//! `/var/tmp`), podman, containerd and ctr, strace, bpftool, nsenter, groff,
//! ip, tc, tmux, Prometheus and `InfluxDB`. Whatever is missing fails the test.

mod acadock;
mod block;
mod budget;
mod cadvisor;
mod cadvisor_api;
mod contract;
mod daemon;
mod daemon_control;
mod daemon_costs;
mod daemon_ends;
mod daemon_parents;
mod daemon_rights;
mod daemon_snapshot;
mod dashboards;
mod docker_api;
mod docker_api_bad_clients;
mod docker_api_clients;
mod docker_api_receiver;
mod docker_api_runtimes;
mod docker_api_tls;
mod doctor;
mod formats;
mod identity;
mod interface_readings;
mod interfaces;
mod last_totals;
mod legacy_ids;
mod level_l3;
mod lifecycle;
mod manuals;
mod network;
mod overhead;
mod peers;
mod perf_events;
mod pods;
mod privileges;
mod receipts;
mod reconcile;
mod record;
mod record_export;
mod resources;
mod runtime_names;
mod shared_namespaces;
mod sinks;
mod snapshot;
mod storage;
mod table;
mod tasks;
mod tcp_events;
mod terminal;
mod top;
mod walk;
mod ways;
mod websockets;
