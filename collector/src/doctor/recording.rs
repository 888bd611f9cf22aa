//! Whether this host is recorded, and why not.

use std::{io, path::Path};

use jiff::{SignedDuration, Timestamp, Unit};
use nix::sys::statvfs::statvfs;
use tare_model::State;
use tare_record::{Error, WriterState};

use crate::{doctor::diagnosis::Check, output::units::bytes_size, record::Replay};

/// Looks at a directory of `tare run --record`.
pub(super) fn check(directory: &Path) -> Check {
    let shown = directory.display();
    match WriterState::read(directory) {
        Ok(WriterState::Active { process, fault: None }) => {
            Check::on(format!("{shown}: {} records; {}", named(process), extent(directory)))
        }
        Ok(WriterState::Active { process, fault: Some(fault) }) => Check {
            state: State::Off,
            found: Some(format!("{shown}: stopped; {}", extent(directory))),
            reason: Some(format!("{} cannot write: {fault}", named(process))),
            remedy: Some(format!(
                "make room, or lower --record-size; {}; recording goes on by itself",
                room(directory)
            )),
        },
        Ok(WriterState::None) => Check {
            state: State::Off,
            found: Some(format!("{shown}: {}", extent(directory))),
            reason: Some("no process records at present".to_owned()),
            remedy: Some(format!("tare run --record {shown}")),
        },
        Err(Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Check {
            state: State::Off,
            found: None,
            reason: Some(format!("nothing was recorded in {shown}")),
            remedy: Some(format!("tare run --record {shown}, to see later what happened")),
        },
        Err(error) => Check {
            state: State::Off,
            found: None,
            reason: Some(error.to_string()),
            remedy: Some("let this process read the directory, or name another one".to_owned()),
        },
    }
}

fn named(process: Option<u32>) -> String {
    process.map_or_else(|| "a process".to_owned(), |process| format!("process {process}"))
}

/// From when to when it is.
fn extent(directory: &Path) -> String {
    let span = Replay::open(directory).and_then(|mut replay| {
        replay.span().ok_or_else(|| anyhow::anyhow!("nothing is recorded yet"))
    });
    match span {
        Ok((first, last)) => {
            let ago = Timestamp::now().duration_since(last).max(SignedDuration::ZERO);
            let ago = ago.round(Unit::Second).unwrap_or(ago);
            format!("from {first:.0} to {last:.0}, {ago:#} ago")
        }
        Err(error) => format!("{error:#}"),
    }
}

fn room(directory: &Path) -> String {
    match statvfs(directory) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            format!("{} are free", bytes_size(free))
        }
        Err(error) => format!("the free room is unknown: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tare_record::{Limits, Writer};

    use super::*;

    #[test]
    fn who_records_and_why_it_stopped_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let found = check(path);
        assert_eq!(found.state, State::Off);
        assert!(found.reason.unwrap().contains("nothing was recorded"));

        let limits = Limits { age_max: Duration::MAX, ..Limits::default() };
        let (mut writer, _) = Writer::open(path, [1; 16], limits).unwrap();
        let mut tick = writer.tick(1_796_055_302_000_000_000, 0).unwrap();
        tick.put("thing", 1, &5).unwrap();
        tick.commit().unwrap();
        let found = check(path);
        let text = found.found.unwrap();
        assert_eq!(found.state, State::On);
        let process = std::process::id();
        assert!(text.contains(&format!("process {process} records; from 2026-11-30T")), "{text}");

        writer.tell(Some("No space left on device"));
        let found = check(path);
        assert_eq!(found.state, State::Off);
        assert!(found.reason.unwrap().ends_with("cannot write: No space left on device"));
        assert!(found.remedy.unwrap().contains(" are free"));

        writer.tell(None);
        assert_eq!(check(path).state, State::On);
        drop(writer);
        assert_eq!(check(path).reason.as_deref(), Some("no process records at present"));
    }
}
