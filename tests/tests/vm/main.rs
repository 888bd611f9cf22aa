//! Ring 4: other kernels, in virtual machines made by `cargo xtask vm`: pure cgroup v2 with all
//! controllers, without Docker and systemd. The test runs as root and alone.

mod block;
mod charge;
mod fields;
mod files;
mod interfaces;
mod kernels;
mod lifecycle;
mod machine;
mod namespace;
mod network;
mod programs;
mod quota;
mod reconcile;
mod walk;
