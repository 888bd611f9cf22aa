//! `/proc/PID/limits`.

use crate::text::{lines, number, words};

/// Parses the soft limit of open files from a `/proc/PID/limits` (`fs/proc/base.c`,
/// `proc_pid_limits`). There is always one: the kernel refuses more than `fs.nr_open`
/// (`kernel/sys.c`, `do_prlimit`).
pub fn parse_open_files_limit(text: &[u8]) -> Option<u64> {
    let line = lines(text).find_map(|line| line.strip_prefix(b"Max open files"))?;
    number(words(line).next()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_soft_limit_comes_first() {
        let text = |limit| format!("Limit  Soft Limit\nMax open files   {limit}   4096   files\n");
        assert_eq!(parse_open_files_limit(text("1024").as_bytes()), Some(1024));
        assert_eq!(parse_open_files_limit(text("unlimited").as_bytes()), None);
        assert_eq!(parse_open_files_limit(b"Max cpu time 1 1\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>, line in "Max open files[ a-z0-9]*") {
            parse_open_files_limit(&text);
            parse_open_files_limit(line.as_bytes());
        }
    }
}
