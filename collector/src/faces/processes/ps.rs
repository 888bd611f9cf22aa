//! Arguments of `ps` to columns, and columns to text. Pure.

use std::collections::HashMap;

use jiff::{Timestamp, tz::TimeZone};

/// A process, as `/proc` describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::faces) struct Process {
    pub(in crate::faces) pid: u32,
    pub(in crate::faces) parent: u32,
    pub(in crate::faces) group: i64,
    pub(in crate::faces) session: i64,
    pub(in crate::faces) terminal: u32,
    pub(in crate::faces) foreground_group: i64,
    pub(in crate::faces) uid: u32,
    pub(in crate::faces) state: char,
    pub(in crate::faces) cpu_ticks: u64,
    /// Since boot.
    pub(in crate::faces) start_ticks: u64,
    pub(in crate::faces) nice: i64,
    pub(in crate::faces) threads: u64,
    pub(in crate::faces) virtual_bytes: u64,
    pub(in crate::faces) resident_bytes: u64,
    /// The CPU that it ran on last.
    pub(in crate::faces) processor: Option<u32>,
    /// Its name, 15 bytes at most.
    pub(in crate::faces) command: String,
    /// Its arguments; empty for a thread of the kernel or one that has ended.
    pub(in crate::faces) arguments: String,
}

/// What else a column needs.
pub(in crate::faces) struct Facts {
    pub(in crate::faces) now: Timestamp,
    pub(in crate::faces) boot_seconds: u64,
    pub(in crate::faces) clock_ticks: u64,
    pub(in crate::faces) memory_bytes: u64,
    /// Names of users.
    pub(in crate::faces) users: HashMap<u32, String>,
    pub(in crate::faces) time_zone: TimeZone,
}

/// A column with its title.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::faces) struct Column {
    pub(in crate::faces) title: String,
    field: Field,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Pid,
    Parent,
    Group,
    Session,
    Uid,
    User,
    /// CPU time over the life, in whole percent.
    Utilization,
    CpuPercent,
    MemoryPercent,
    VirtualKib,
    ResidentKib,
    Terminal,
    State,
    States,
    Start,
    /// `HH:MM:SS`.
    Time,
    /// `M:SS`.
    BsdTime,
    Elapsed,
    ElapsedSeconds,
    Nice,
    Threads,
    Name,
    Arguments,
}

/// Names of columns for `-o`, their titles and fields.
const NAMED: [(&str, &str, Field); 41] = [
    ("pid", "PID", Field::Pid),
    ("ppid", "PPID", Field::Parent),
    ("pgid", "PGID", Field::Group),
    ("pgrp", "PGRP", Field::Group),
    ("sid", "SID", Field::Session),
    ("sess", "SESS", Field::Session),
    ("uid", "UID", Field::Uid),
    ("euid", "EUID", Field::Uid),
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uname", "USER", Field::User),
    ("c", "C", Field::Utilization),
    ("pcpu", "%CPU", Field::CpuPercent),
    ("%cpu", "%CPU", Field::CpuPercent),
    ("pmem", "%MEM", Field::MemoryPercent),
    ("%mem", "%MEM", Field::MemoryPercent),
    ("vsz", "VSZ", Field::VirtualKib),
    ("vsize", "VSZ", Field::VirtualKib),
    ("rss", "RSS", Field::ResidentKib),
    ("rssize", "RSS", Field::ResidentKib),
    ("rsz", "RSZ", Field::ResidentKib),
    ("tty", "TT", Field::Terminal),
    ("tt", "TT", Field::Terminal),
    ("tname", "TTY", Field::Terminal),
    ("s", "S", Field::State),
    ("state", "S", Field::State),
    ("stat", "STAT", Field::States),
    ("start", "STARTED", Field::Start),
    ("stime", "STIME", Field::Start),
    ("time", "TIME", Field::Time),
    ("cputime", "TIME", Field::Time),
    ("bsdtime", "TIME", Field::BsdTime),
    ("etime", "ELAPSED", Field::Elapsed),
    ("etimes", "ELAPSED", Field::ElapsedSeconds),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("nlwp", "NLWP", Field::Threads),
    ("thcount", "THCNT", Field::Threads),
    ("comm", "COMMAND", Field::Name),
    ("args", "COMMAND", Field::Arguments),
    ("cmd", "CMD", Field::Arguments),
];

const FULL: [(&str, Field); 8] = [
    ("UID", Field::User),
    ("PID", Field::Pid),
    ("PPID", Field::Parent),
    ("C", Field::Utilization),
    ("STIME", Field::Start),
    ("TTY", Field::Terminal),
    ("TIME", Field::Time),
    ("CMD", Field::Arguments),
];

const BY_USER: [(&str, Field); 11] = [
    ("USER", Field::User),
    ("PID", Field::Pid),
    ("%CPU", Field::CpuPercent),
    ("%MEM", Field::MemoryPercent),
    ("VSZ", Field::VirtualKib),
    ("RSS", Field::ResidentKib),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("START", Field::Start),
    ("TIME", Field::BsdTime),
    ("COMMAND", Field::Arguments),
];

const BSD: [(&str, Field); 5] = [
    ("PID", Field::Pid),
    ("TTY", Field::Terminal),
    ("STAT", Field::States),
    ("TIME", Field::BsdTime),
    ("COMMAND", Field::Arguments),
];

const SHORT: [(&str, Field); 4] =
    [("PID", Field::Pid), ("TTY", Field::Terminal), ("TIME", Field::Time), ("CMD", Field::Name)];

/// The columns that arguments of `ps` ask for: those of `-ef`, `aux`, `ax` and `-e`, and any list
/// with `-o`. Options that only choose processes have no effect.
///
/// # Errors
///
/// What is not understood.
pub(in crate::faces) fn columns(arguments: &str) -> Result<Vec<Column>, String> {
    let mut chosen = Vec::new();
    let (mut is_full, mut is_by_user, mut is_bsd) = (false, false, false);
    let mut words = arguments.split_whitespace();
    while let Some(word) = words.next() {
        if let Some(list) = word.strip_prefix("--format").and_then(|rest| rest.strip_prefix('=')) {
            add(list, &mut chosen)?;
            continue;
        }
        let (is_dashed, letters) = match word.strip_prefix('-') {
            Some(letters) => (true, letters),
            None => (false, word),
        };
        for (at, letter) in letters.char_indices() {
            match (letter, is_dashed) {
                ('o', _) => {
                    let list = &letters[at + 1..];
                    let list =
                        if list.is_empty() { words.next().unwrap_or_default() } else { list };
                    add(list, &mut chosen)?;
                    break;
                }
                ('f', true) => is_full = true,
                ('u', false) => is_by_user = true,
                ('a' | 'x', false) => is_bsd = true,
                ('e' | 'A' | 'w', true) | ('w', false) => {}
                _ => return Err(format!("Tare does not know `{word}` of ps")),
            }
        }
    }
    let standard = |columns: &[(&str, Field)]| {
        let column =
            |(title, field): &(&str, Field)| Column { title: (*title).to_owned(), field: *field };
        columns.iter().map(column).collect()
    };
    if chosen.is_empty() {
        return Ok(match (is_full, is_by_user, is_bsd) {
            (true, ..) => standard(&FULL),
            (_, true, _) => standard(&BY_USER),
            (_, _, true) => standard(&BSD),
            _ => standard(&SHORT),
        });
    }
    if !chosen.iter().any(|column| column.field == Field::Pid && column.title == "PID") {
        return Err("Couldn't find PID field in ps output".to_owned());
    }
    Ok(chosen)
}

/// Adds a list such as `pid,args=WHAT`.
fn add(list: &str, columns: &mut Vec<Column>) -> Result<(), String> {
    if list.is_empty() {
        return Err("-o of ps needs a list of columns".to_owned());
    }
    for word in list.split(',') {
        let (name, title) =
            word.split_once('=').map_or((word, None), |(name, title)| (name, Some(title)));
        let name = if name == "command" { "args" } else { name };
        let known = NAMED.iter().find(|(known, ..)| *known == name);
        let (_, usual, field) =
            known.ok_or_else(|| format!("Tare does not know the column `{name}` of ps"))?;
        columns.push(Column { title: title.unwrap_or(usual).to_owned(), field: *field });
    }
    Ok(())
}

impl Column {
    /// The text of a process in this column.
    pub(in crate::faces) fn text(&self, process: &Process, facts: &Facts) -> String {
        let hundredths = |part: u64, whole: u64| {
            let share = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
            format!("{}.{}", share / 10, share % 10)
        };
        let elapsed = facts.elapsed(process);
        let cpu_seconds = process.cpu_ticks / facts.clock_ticks.max(1);
        match self.field {
            Field::Pid => process.pid.to_string(),
            Field::Parent => process.parent.to_string(),
            Field::Group => process.group.to_string(),
            Field::Session => process.session.to_string(),
            Field::Uid => process.uid.to_string(),
            Field::User => facts.user(process.uid),
            Field::Utilization => {
                (cpu_seconds * 100).checked_div(elapsed).unwrap_or(0).min(99).to_string()
            }
            Field::CpuPercent => {
                hundredths(process.cpu_ticks, elapsed.saturating_mul(facts.clock_ticks))
            }
            Field::MemoryPercent => hundredths(process.resident_bytes, facts.memory_bytes),
            Field::VirtualKib => (process.virtual_bytes / 1024).to_string(),
            Field::ResidentKib => (process.resident_bytes / 1024).to_string(),
            Field::Terminal => terminal(process.terminal),
            Field::State => process.state.to_string(),
            Field::States => states(process),
            Field::Start => facts.start(process),
            Field::Time => clock(cpu_seconds, true),
            Field::BsdTime => format!("{}:{:02}", cpu_seconds / 60, cpu_seconds % 60),
            Field::Elapsed => clock(elapsed, false),
            Field::ElapsedSeconds => elapsed.to_string(),
            Field::Nice => process.nice.to_string(),
            Field::Threads => process.threads.to_string(),
            Field::Name => process.command.clone(),
            Field::Arguments if process.arguments.is_empty() => format!("[{}]", process.command),
            Field::Arguments => process.arguments.clone(),
        }
    }
}

impl Facts {
    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn started(&self, process: &Process) -> Timestamp {
        let seconds = self.boot_seconds + process.start_ticks / self.clock_ticks.max(1);
        let seconds = i64::try_from(seconds).unwrap_or_default();
        Timestamp::from_second(seconds).unwrap_or(self.now)
    }

    /// Seconds since the start.
    fn elapsed(&self, process: &Process) -> u64 {
        let elapsed = self.now.duration_since(self.started(process)).as_secs();
        u64::try_from(elapsed).unwrap_or(0)
    }

    fn start(&self, process: &Process) -> String {
        let started = self.started(process).to_zoned(self.time_zone.clone());
        let now = self.now.to_zoned(self.time_zone.clone());
        let format = match (started.date() == now.date(), started.year() == now.year()) {
            (true, _) => "%H:%M",
            (false, true) => "%b%d",
            (false, false) => "%Y",
        };
        started.strftime(format).to_string()
    }
}

/// `[DD-]HH:MM:SS`; without hours where there are none, if they may be left out.
fn clock(seconds: u64, with_hours: bool) -> String {
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) if !with_hours => format!("{minutes:02}:{seconds:02}"),
        (0, _) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// The name of a terminal by its number (`Documentation/admin-guide/devices.txt`).
fn terminal(number: u32) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

/// The state with the marks of BSD.
fn states(process: &Process) -> String {
    let marks = [
        (process.nice < 0, '<'),
        (process.nice > 0, 'N'),
        (process.session == i64::from(process.pid), 's'),
        (process.threads > 1, 'l'),
        (process.foreground_group == process.group, '+'),
    ];
    let marks = marks.into_iter().filter(|(has, _)| *has).map(|(_, mark)| mark);
    std::iter::once(process.state).chain(marks).collect()
}

/// Parses `/proc/PID/stat` (`fs/proc/array.c`, `do_task_stat`). User and arguments are elsewhere.
pub(in crate::faces) fn parse_stat(stat: &str, page_bytes: u64) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (command, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let signed = |at: usize| fields.get(at)?.parse::<i64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        command: command.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: number(1)?.try_into().ok()?,
        group: signed(2)?,
        session: signed(3)?,
        terminal: u32::try_from(signed(4)?).unwrap_or(0),
        foreground_group: signed(5)?,
        cpu_ticks: number(11)?.saturating_add(number(12)?),
        nice: signed(16)?,
        threads: number(17)?,
        start_ticks: number(19)?,
        virtual_bytes: number(20)?,
        resident_bytes: number(21)?.saturating_mul(page_bytes),
        processor: number(36).and_then(|number| number.try_into().ok()),
        uid: 0,
        arguments: String::new(),
    })
}

/// The effective user in a `/proc/PID/status`.
pub(in crate::faces) fn parse_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Names of users in a `passwd`.
pub(in crate::faces) fn parse_users(passwd: &str) -> HashMap<u32, String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    // Of several names, the first holds.
    passwd.lines().rev().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4711 (a) b) S 1 4711 4711 34817 4711 4194560 1 0 0 0 150 50 0 0 20 5 3 0 \
                        1000 1048576 256 18446744073709551615";

    fn facts() -> Facts {
        Facts {
            now: Timestamp::from_second(1_700_000_110).unwrap(),
            boot_seconds: 1_700_000_000,
            clock_ticks: 100,
            memory_bytes: 10 << 20,
            users: parse_users("root:x:0:0::/:\nalias:x:0:0::/:\nbad\nweb:x:33:33::/:\n"),
            time_zone: TimeZone::UTC,
        }
    }

    fn row(arguments: &str) -> Vec<String> {
        let mut process = parse_stat(STAT, 4096).unwrap();
        process.uid = 33;
        let columns = columns(arguments).unwrap();
        columns.iter().map(|column| column.text(&process, &facts())).collect()
    }

    fn titles(arguments: &str) -> Vec<String> {
        columns(arguments).unwrap().into_iter().map(|column| column.title).collect()
    }

    #[test]
    fn the_usual_forms_of_ps() {
        let full = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
        assert_eq!(titles("-ef"), full);
        assert_eq!(row("-ef"), ["web", "4711", "1", "2", "22:13", "pts/1", "00:00:02", "[a) b]"]);
        assert_eq!(
            row("aux"),
            [
                "web", "4711", "2.0", "10.0", "1024", "1024", "pts/1", "SNsl+", "22:13", "0:02",
                "[a) b]"
            ]
        );
        assert_eq!(titles("ax"), ["PID", "TTY", "STAT", "TIME", "COMMAND"]);
        assert_eq!(titles("-e"), ["PID", "TTY", "TIME", "CMD"]);
    }

    #[test]
    fn chosen_columns_have_their_own_titles() {
        assert_eq!(titles("-eo pid,ppid,args=WHAT"), ["PID", "PPID", "WHAT"]);
        assert_eq!(titles("-o user,pid -ocomm"), ["USER", "PID", "COMMAND"]);
        assert_eq!(row("o pid,etime,nlwp"), ["4711", "01:40", "3"]);
        for bad in ["-o comm", "-o", "-o pid,nothing", "-Z", "--forest", "é", "-oé"] {
            assert!(columns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_named_once() {
        assert_eq!(parse_uid("Name:\tx\nUid:\t0\t33\t0\t0\n"), Some(33));
        assert_eq!((facts().user(0), facts().user(7)), ("root".to_owned(), "7".to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String, ticks: u64, start: u64) {
            let _ = columns(&text);
            let _ = parse_stat(&text, 4096);
            parse_uid(&text);
            parse_users(&text);
            let process = Process { cpu_ticks: ticks, start_ticks: start, ..Process::default() };
            for column in columns("aux").unwrap().iter().chain(&columns("-ef").unwrap()) {
                column.text(&process, &facts());
            }
        }
    }
}
