//! The `bpf` calls that aya does not make: a map whose values have a size that is known at run
//! time, programs that call the kernel's functions, links with an iterator's target.

use std::{
    ffi::c_char,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya_obj::generated::{
    BPF_F_MMAPABLE, BPF_F_SLEEPABLE, BPF_F_TEST_RUN_ON_CPU, bpf_attach_type, bpf_attr, bpf_cmd,
    bpf_map_type, bpf_prog_type,
};
use nix::{errno::Errno, libc, unistd::read};

/// Room for what the verifier says of a program that it refuses.
const LOG_BYTES: usize = 1 << 16;

const NAME: &[u8] = b"tare_walk";

/// What an iterator goes over.
#[derive(Clone, Copy)]
pub(in crate::kernel) enum Target<'a> {
    /// One task, by its id.
    Task(u32),
    /// A cgroup and all below it.
    Cgroup(BorrowedFd<'a>),
}

/// Makes an array of values of some bytes that can be mapped.
pub(in crate::kernel) fn create_array(value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_ARRAY, value_bytes, entries, BPF_F_MMAPABLE)
}

/// Makes an array of one value, of which each CPU has a copy.
pub(in crate::kernel) fn create_per_cpu_value(value_bytes: u32) -> io::Result<OwnedFd> {
    create_map(bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, value_bytes, 1, 0)
}

fn create_map(
    kind: bpf_map_type,
    value_bytes: u32,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = zeroed();
    // SAFETY: all fields of the union are integers, and all were zero.
    let map = unsafe { &mut attributes.__bindgen_anon_1 };
    map.map_type = kind as u32;
    map.key_size = size_of::<u32>() as u32;
    map.value_size = value_bytes;
    map.max_entries = entries;
    map.map_flags = flags;
    set_name(&mut map.map_name);
    descriptor(bpf_cmd::BPF_MAP_CREATE, &mut attributes)
}

/// Loads a sleepable iterator program for the iterator with this BTF id.
pub(in crate::kernel) fn load_iterator(code: &[u8], iterator: u32) -> Result<OwnedFd> {
    load(code, "the walk", |attributes| {
        // SAFETY: all fields of the union are integers, and all were zero.
        let program = unsafe { &mut attributes.__bindgen_anon_3 };
        program.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
        program.expected_attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
        program.attach_btf_id = iterator;
        program.prog_flags = BPF_F_SLEEPABLE;
    })
}

/// Loads a program for [`run_once`].
pub(in crate::kernel) fn load_raw_tracepoint(code: &[u8]) -> Result<OwnedFd> {
    load(code, "a program", |attributes| {
        // SAFETY: as above.
        let program = unsafe { &mut attributes.__bindgen_anon_3 };
        program.prog_type = bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT as u32;
    })
}

/// Loads a program; if the verifier refuses it, a second time with a log, which costs time.
fn load(code: &[u8], what: &str, set_kind: impl Fn(&mut bpf_attr)) -> Result<OwnedFd> {
    load_with(code, &set_kind, None).or_else(|error| {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Err(error.into());
        }
        let mut log = vec![0; LOG_BYTES];
        load_with(code, &set_kind, Some(&mut log)).with_context(|| {
            let said = last_words(&String::from_utf8_lossy(&log));
            format!("the verifier refused {what}: {said}")
        })
    })
}

fn load_with(
    code: &[u8],
    set_kind: impl Fn(&mut bpf_attr),
    log: Option<&mut Vec<u8>>,
) -> io::Result<OwnedFd> {
    /// `bpf_rdonly_cast` and others are for such programs alone.
    const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";
    /// `BPF_LOG_LEVEL1`.
    const LOG_LEVEL: u32 = 1;
    let mut attributes = zeroed();
    set_kind(&mut attributes);
    // SAFETY: as above.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.insns = code.as_ptr() as u64;
    program.insn_cnt = (code.len() / 8) as u32;
    program.license = LICENSE.as_ptr() as u64;
    set_name(&mut program.prog_name);
    if let Some(log) = log {
        program.log_level = LOG_LEVEL;
        program.log_buf = log.as_mut_ptr() as u64;
        program.log_size = log.len() as u32;
    }
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attributes)
}

/// Runs a program here, or on a CPU (`BPF_PROG_TEST_RUN`, for raw tracepoints Linux 5.10).
pub(in crate::kernel) fn run_once(program: BorrowedFd<'_>, cpu: Option<u32>) -> io::Result<()> {
    let mut attributes = zeroed();
    attributes.test.prog_fd = program.as_raw_fd() as u32;
    if let Some(cpu) = cpu {
        // SAFETY: as above.
        let test = unsafe { &mut attributes.test };
        (test.flags, test.cpu) = (BPF_F_TEST_RUN_ON_CPU, cpu);
    }
    call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes).map(drop)
}

/// Attaches an iterator program to its target.
pub(in crate::kernel) fn link_iterator(
    program: BorrowedFd<'_>,
    target: Target<'_>,
) -> io::Result<OwnedFd> {
    /// `BPF_CGROUP_ITER_DESCENDANTS_PRE`.
    const PARENTS_FIRST: u32 = 2;
    // `union bpf_iter_link_info`: of a cgroup the order and the descriptor, of a task its id.
    let info: [u32; 4] = match target {
        Target::Task(id) => [id, 0, 0, 0],
        Target::Cgroup(directory) => [PARENTS_FIRST, directory.as_raw_fd() as u32, 0, 0],
    };
    let mut attributes = zeroed();
    // SAFETY: as above.
    unsafe {
        let link = &mut attributes.link_create;
        link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
        link.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
        let iterator = &mut link.__bindgen_anon_3.__bindgen_anon_1;
        iterator.iter_info = info.as_ptr() as u64;
        iterator.iter_info_len = size_of_val(&info) as u32;
    }
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attributes)
}

/// Runs the program of a link over its target.
pub(in crate::kernel) fn run_iterator(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = zeroed();
    attributes.iter_create.link_fd = link.as_raw_fd() as u32;
    let iterator = descriptor(bpf_cmd::BPF_ITER_CREATE, &mut attributes)?;
    let mut nothing = [0; 64];
    loop {
        match read(&iterator, &mut nothing) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of structs of integers.
    unsafe { mem::zeroed() }
}

fn set_name(name: &mut [c_char]) {
    for (to, from) in name.iter_mut().zip(NAME) {
        *to = *from as c_char;
    }
}

fn descriptor(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as the union has, and what it points to lives.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_uint,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    Ok(Errno::result(result)? as i32)
}

/// The line of the verifier's log that says what is wrong; the statistics come after it.
fn last_words(log: &str) -> String {
    let lines = log.trim_end_matches('\0').lines();
    let said = lines.rev().find(|line| {
        !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("verification ")
    });
    said.unwrap_or("the verifier says nothing").to_owned()
}
