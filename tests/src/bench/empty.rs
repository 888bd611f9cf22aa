//! BPF programs that do nothing, attached to the measured hooks: the cost of the call itself.

use std::{
    ffi::CString,
    fs::File,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::{errno::Errno, libc};

/// Commands and types of `linux/bpf.h`.
const PROG_LOAD: u32 = 5;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const LINK_CREATE: u32 = 28;
const ENABLE_STATS: u32 = 32;
const CGROUP_SKB: u32 = 8;
const RAW_TRACEPOINT: u32 = 17;
const CGROUP_INET_INGRESS: u32 = 0;
const CGROUP_INET_EGRESS: u32 = 1;

#[derive(Args, Debug)]
pub(super) struct Empty {
    /// Tracepoints that get an empty program, called `empty`.
    #[arg(long)]
    tracepoint: Vec<String>,
    /// A cgroup whose packets get two: `empty_ingress` and `empty_egress`.
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

impl Empty {
    /// Attaches them, switches on the kernel's run-time statistics of BPF programs, prints the hook
    /// of each program, then `ready`, and runs until it is killed.
    pub(super) fn run(self) -> Result<()> {
        let mut held = vec![enable_stats()?];
        for (n, name) in self.tracepoint.iter().enumerate() {
            let program = load(RAW_TRACEPOINT, &format!("empty_{n}"))?;
            let tracepoint = CString::new(name.as_str()).context("a tracepoint's name")?;
            let attr = [address(tracepoint.as_ptr().cast()), pair(number(&program)?, 0)];
            held.push(
                bpf(RAW_TRACEPOINT_OPEN, &attr).with_context(|| format!("attach to {name}"))?,
            );
            held.push(program);
        }
        if let Some(cgroup) = &self.cgroup {
            let directory = File::open(cgroup).with_context(|| cgroup.display().to_string())?;
            let directory = OwnedFd::from(directory);
            for (name, direction) in
                [("empty_ingress", CGROUP_INET_INGRESS), ("empty_egress", CGROUP_INET_EGRESS)]
            {
                let program = load(CGROUP_SKB, name)?;
                let places = pair(number(&program)?, number(&directory)?);
                let attr = [places, pair(direction, 0)];
                held.push(bpf(LINK_CREATE, &attr).with_context(|| format!("attach {name}"))?);
                held.push(program);
            }
        }
        super::say("ready")?;
        loop {
            thread::park();
        }
    }
}

/// While this is open, the kernel measures the run time of every BPF program.
fn enable_stats() -> Result<OwnedFd> {
    // BPF_STATS_RUN_TIME is 0.
    bpf(ENABLE_STATS, &[0]).context("have the kernel take the time of programs")
}

/// `r0 = 1; exit`: for a packet, "pass".
fn load(kind: u32, name: &str) -> Result<OwnedFd> {
    // Opcode, registers, offset, and a constant of four bytes.
    let set_r0 = [0xb7_u32.to_le().to_ne_bytes(), 1_u32.to_ne_bytes()];
    let exit = [0x95_u32.to_le().to_ne_bytes(), [0; 4]];
    let code = [set_r0, exit];
    let mut called = [0; 16];
    for (to, from) in called.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    let license = c"GPL";
    let attr = [
        pair(kind, u32::try_from(code.len())?),
        address(code.as_ptr().cast()),
        address(license.as_ptr().cast()),
        0, // log_level, log_size
        0, // log_buf
        0, // kern_version, prog_flags
        u64::from_ne_bytes(called[..8].try_into()?),
        u64::from_ne_bytes(called[8..].try_into()?),
        0, // prog_ifindex, expected_attach_type
    ];
    bpf(PROG_LOAD, &attr).with_context(|| format!("load the program {name}"))
}

fn address(of: *const libc::c_void) -> u64 {
    of.addr() as u64
}

fn number(of: &OwnedFd) -> Result<u32> {
    u32::try_from(of.as_raw_fd()).context("a descriptor")
}

/// Two fields that share a word.
fn pair(first: u32, second: u32) -> u64 {
    let (mut word, second) = ([0; 8], second.to_ne_bytes());
    word[..4].copy_from_slice(&first.to_ne_bytes());
    word[4..].copy_from_slice(&second);
    u64::from_ne_bytes(word)
}

/// Calls the kernel with 64-bit words, of which each may hold two fields, the first one below.
fn bpf(command: u32, attr: &[u64]) -> Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes of `attr` as the size says, and what addresses
    // in it point to, which the callers keep until it returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    let descriptor = i32::try_from(Errno::result(result)?)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
