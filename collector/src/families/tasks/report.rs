//! From a pass over all tasks to the contract.

use std::time::Instant;

use jiff::Timestamp;
use tare_model::{LoadAverages, Tasks, WaitingTask};

use crate::families::{
    tasks::{self, TasksReading, Windows},
    units::seconds,
};

/// The tasks of an instance; `time_of` gives the time of day of an instant.
pub fn report(reading: Option<&TasksReading>, time_of: impl Fn(Instant) -> Timestamp) -> Tasks {
    let Some(TasksReading { read_at, live, times, load, waiting_for_cpu, waiting }) = reading
    else {
        return Tasks::default();
    };
    let Windows { ten_seconds, one_minute, five_minutes, fifteen_minutes } = *load;
    Tasks {
        read_at: Some(time_of(*read_at)),
        running: Some(live.running),
        runnable: Some(live.runnable),
        sleeping: Some(live.sleeping),
        uninterruptible: Some(live.uninterruptible),
        io_wait: Some(live.io_wait),
        stopped: Some(live.stopped),
        zombies: Some(live.zombies),
        processes: Some(live.processes),
        threads: Some(live.threads),
        file_descriptors: (live.uncounted == 0).then_some(live.descriptors),
        load: Some(LoadAverages { ten_seconds, one_minute, five_minutes, fifteen_minutes }),
        run_seconds: Some(seconds(times.run_nanoseconds)),
        run_queue_seconds: Some(seconds(times.wait_nanoseconds)),
        run_periods: Some(times.periods),
        waiting_for_cpu: *waiting_for_cpu,
        waiting: waiting.iter().map(waiting_task).collect(),
    }
}

/// What is still true of an instance that ended: the totals of the last pass before.
pub fn of_ended(tasks: Tasks) -> Tasks {
    let Tasks { read_at, run_seconds, run_queue_seconds, run_periods, .. } = tasks;
    Tasks { read_at, run_seconds, run_queue_seconds, run_periods, ..Tasks::default() }
}

fn waiting_task(task: &tasks::WaitingTask) -> WaitingTask {
    WaitingTask {
        pid: task.pid,
        tid: task.tid,
        command: task.command.clone(),
        seconds: seconds(task.nanoseconds),
        io: task.io,
        function: task.function.clone(),
    }
}
