//! From a pass over all tasks to the contract.

use tare_model::{LoadAverages, Tasks, WaitingTask};

use crate::families::{
    tasks::{self, OpenFilesReading, TasksReading, Windows},
    units::seconds,
};

/// The tasks of an instance.
pub fn report(reading: Option<&TasksReading>, files: Option<&OpenFilesReading>) -> Tasks {
    let Some(TasksReading { read_at, live, times, load, waiting_for_cpu, waiting }) = reading
    else {
        return open_files(files);
    };
    let Windows { ten_seconds, one_minute, five_minutes, fifteen_minutes } = *load;
    Tasks {
        read_at: Some(read_at.time),
        running: Some(live.running),
        runnable: Some(live.runnable),
        sleeping: Some(live.sleeping),
        uninterruptible: Some(live.uninterruptible),
        io_wait: Some(live.io_wait),
        stopped: Some(live.stopped),
        zombies: Some(live.zombies),
        processes: Some(live.processes),
        threads: Some(live.threads),
        load: Some(LoadAverages { ten_seconds, one_minute, five_minutes, fifteen_minutes }),
        run_seconds: Some(seconds(times.run_nanoseconds)),
        run_queue_seconds: Some(seconds(times.wait_nanoseconds)),
        run_periods: Some(times.periods),
        waiting_for_cpu: *waiting_for_cpu,
        waiting: waiting.iter().map(waiting_task).collect(),
        ..open_files(files)
    }
}

fn open_files(reading: Option<&OpenFilesReading>) -> Tasks {
    let Some(OpenFilesReading { read_at, descriptors, sockets }) = reading else {
        return Tasks::default();
    };
    Tasks {
        open_files_read_at: Some(read_at.time),
        file_descriptors: Some(*descriptors),
        sockets: Some(*sockets),
        ..Tasks::default()
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
