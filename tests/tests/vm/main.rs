//! Ring 4: other kernels, in a virtual machine that `cargo xtask vm` makes: pure cgroup v2 with
//! all controllers, no Docker, no systemd, this test as root and nobody else.

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
mod reconcile;
