//! Open files: a pass over those of all processes, in parts.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, seq_file},
    helpers::generated::bpf_seq_write,
    macros::map,
    maps::Array,
};
use tare_ebpf::{FILES_PER_PART, FilePass, Key, OpenFiles};

use crate::{
    slots::task_slot,
    tasks::{cgroup_of, clear},
    typed::{Typed, layout},
};

/// The last pass.
#[map]
static FILE_PASS: Array<FilePass> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// By slot of the table of tasks: what the last pass found. User space sets the size.
#[map]
static OPEN_FILES: Array<OpenFiles> = Array::with_max_entries(1, BPF_F_MMAPABLE);

// `include/uapi/linux/stat.h`.
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Counts one descriptor of a pass over those of all tasks. `iter/task_file` is there since Linux
/// 5.8; it leaves out threads that share the files of their process.
///
/// After so many of them it writes a byte. A read of one byte ends there, and the next one goes on
/// (`kernel/bpf/bpf_iter.c`, `bpf_seq_read`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn count_file(context: *mut core::ffi::c_void) -> i32 {
    let context = Typed::new(context.cast());
    let Some(pass) = FILE_PASS.get_ptr_mut(0) else { return 0 };
    // SAFETY: the map gave the pointer, and there is one reader at a time.
    let pass = unsafe { &mut *pass };
    // `bpf_iter__task_file.task` and `file`; the last call is without a file.
    let (task, file): (*const u8, *const u8) = (context.load(8), context.load(24));
    if task.is_null() || file.is_null() {
        pass.ended = pass.begun;
        return 0;
    }
    let meta = context.follow(0);
    if meta.load::<u64>(layout!(iter_number)) == 0 {
        let begun = pass.begun + 1;
        clear(&raw mut *pass);
        pass.begun = begun;
        pass.ended = begun - 1;
    }
    pass.files += 1;
    if pass.files % FILES_PER_PART == 0 {
        let byte = 0u8;
        let seq: *const u8 = meta.load(layout!(iter_output));
        // SAFETY: the kernel's own file, and a byte of this stack.
        unsafe { bpf_seq_write(seq.cast_mut().cast::<seq_file>(), (&raw const byte).cast(), 1) };
    }
    count(Typed::new(task), Typed::new(file), pass);
    0
}

#[inline(always)]
fn count(task: Typed, file: Typed, pass: &mut FilePass) {
    let address = task.at(0) as u64;
    if pass.task != address {
        pass.task = address;
        let ids = (task.load::<u32>(layout!(task_pid)), task.load::<u32>(layout!(task_tgid)));
        pass.is_process = u64::from(ids.0 == ids.1);
        pass.slot = u64::from(task_slot(&Key::cgroup(cgroup_of(task))));
    }
    // A thread with files of its own: `/proc/PID/fd` does not show them either.
    if pass.is_process == 0 {
        return;
    }
    let Some(open) = OPEN_FILES.get_ptr_mut(pass.slot as u32) else { return };
    // SAFETY: as above.
    let open = unsafe { &mut *open };
    if open.pass != pass.begun {
        *open = OpenFiles { pass: pass.begun, files: 0, sockets: 0 };
    }
    open.files += 1;
    let mode: u16 = file.follow(layout!(file_inode)).load(layout!(inode_mode));
    open.sockets += u64::from(mode & S_IFMT == S_IFSOCK);
}
