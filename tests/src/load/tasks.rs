//! Tasks in known states, and short lives.

use std::{
    fs, iter,
    os::unix::net::UnixDatagram,
    process::id,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::libc;
use serde_json::{Value, json};

use super::{compute::burn, units};

/// How long a task that has told its parent of its end takes to leave the CPU, and more.
const SETTLE: Duration = Duration::from_millis(2);

#[derive(Args, Debug)]
pub(super) struct Tasks {
    /// Threads that burn CPU time.
    #[arg(long, default_value_t = 0)]
    spinning: usize,
    /// Processes in uninterruptible sleep, each with a child that sleeps: parents that wait for
    /// what `vfork` made.
    #[arg(long, default_value_t = 0)]
    blocked: usize,
    /// Processes that are stopped.
    #[arg(long, default_value_t = 0)]
    stopped: usize,
    /// Processes that have ended and are not waited for.
    #[arg(long, default_value_t = 0)]
    zombies: usize,
    /// Open descriptors of the first process, besides those that it has.
    #[arg(long, default_value_t = 0)]
    descriptors: usize,
    /// Open sockets of the first process.
    #[arg(long, default_value_t = 0)]
    sockets: usize,
    /// How long they stay.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    time: Duration,
}

impl Tasks {
    pub(super) fn apply(self) -> Result<Value> {
        let end = Instant::now() + self.time;
        // Before the threads: a child has none of them.
        for _ in 0..self.blocked {
            child(|| {
                clone(libc::CLONE_VFORK, sleep_on);
            })?;
        }
        for _ in 0..self.stopped {
            // SAFETY: takes no pointers.
            child(|| unsafe {
                libc::raise(libc::SIGSTOP);
            })?;
        }
        for _ in 0..self.zombies {
            child(|| ())?;
        }
        let open = || fs::File::open("/proc/self/stat").context("open a file");
        let held = iter::repeat_with(open).take(self.descriptors).collect::<Result<Vec<_>>>()?;
        let socket = || UnixDatagram::unbound().context("open a socket");
        let sockets = iter::repeat_with(socket).take(self.sockets).collect::<Result<Vec<_>>>()?;
        for _ in 0..self.spinning {
            thread::spawn(move || burn(end));
        }
        super::say_ready()?;
        thread::sleep(self.time);
        Ok(json!({ "load": "tasks", "descriptors": held.len(), "sockets": sockets.len() }))
    }
}

#[derive(Args, Debug)]
pub(super) struct Lives {
    /// How many processes, one after the other.
    #[arg(long)]
    count: usize,
    /// For how long each burns CPU time.
    #[arg(long = "each", value_name = "DURATION", value_parser = units::duration)]
    each: Duration,
}

impl Lives {
    /// Prints what the scheduler counted of all of them, as the kernel tells it before each is
    /// waited for.
    pub(super) fn apply(self) -> Result<Value> {
        let mut sums = [0; 3];
        for _ in 0..self.count {
            let each = self.each;
            let pid = child(move || burn(Instant::now() + each))?;
            wait(pid, libc::WNOWAIT)?;
            thread::sleep(SETTLE);
            let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
            for (sum, word) in sums.iter_mut().zip(text.split_whitespace()) {
                *sum += word.parse::<u64>().with_context(|| text.clone())?;
            }
            wait(pid, 0)?;
        }
        let [run_nanoseconds, wait_nanoseconds, periods] = sums;
        Ok(json!({
            "load": "lives",
            "pid": id(),
            "run_nanoseconds": run_nanoseconds,
            "wait_nanoseconds": wait_nanoseconds,
            "periods": periods,
        }))
    }
}

/// Makes a process that does this and ends.
fn child(what: impl FnOnce()) -> Result<i32> {
    let pid = clone(0, what);
    ensure!(pid > 0, "cannot make a process");
    Ok(pid)
}

/// The same with further flags.
fn clone(flags: i32, what: impl FnOnce()) -> i32 {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child has memory of its own, as after `fork`, and there is no
    // other thread. It leaves without running anything of the parent's.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if pid == 0 {
            what();
            libc::_exit(0);
        }
        i32::try_from(pid).unwrap_or(-1)
    }
}

fn sleep_on() {
    loop {
        thread::park();
    }
}

fn wait(pid: i32, flags: i32) -> Result<()> {
    let pid = u32::try_from(pid).context("a process id")?;
    // SAFETY: the kernel writes one `siginfo_t`, for which there is room.
    let result = unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | flags)
    };
    ensure!(result == 0, "waitid: {}", std::io::Error::last_os_error());
    Ok(())
}
