//! Files that describe the host and seldom change: `/proc/cpuinfo`, `os-release`, and names and
//! values in `/sys`.

use std::collections::BTreeSet;

use crate::text::{lines, number};

/// Parses the first `model name` of a `/proc/cpuinfo`. Not every architecture has one.
pub fn parse_cpu_model(text: &[u8]) -> Option<String> {
    let value = lines(text).find_map(|line| line.strip_prefix(b"model name"))?;
    let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// Parses the number after a stem: 12 for `cpu12`, `None` for `cpufreq`.
pub fn parse_index(name: &str, stem: &str) -> Option<u32> {
    u32::try_from(number(name.strip_prefix(stem)?.as_bytes())?).ok()
}

/// Parses the page size in bytes from the name of a directory in `/sys/kernel/mm/hugepages`, such
/// as `hugepages-2048kB` (`mm/hugetlb_sysfs.c`).
pub fn parse_huge_page_size(name: &str) -> Option<u64> {
    let kibibytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    number(kibibytes.as_bytes())?.checked_mul(1024)
}

/// A CPU number from here on is a mistake: more than the kernel can be built for (`NR_CPUS`,
/// 8,192).
const CPUS_MAX: u32 = 1 << 16;

/// Parses a list of CPUs such as `0-3,8`. `None` if it is empty or anything else.
pub fn parse_cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Parses the size in bytes of a CPU cache, such as `32K` (`drivers/base/cacheinfo.c`,
/// `size_show`).
pub fn parse_cache_size(text: &str) -> Option<u64> {
    number(text.trim().strip_suffix('K')?.as_bytes())?.checked_mul(1024)
}

/// Parses the distances from one NUMA node to each that is online: `10 21`. Empty if anything else
/// is there.
pub fn parse_distances(text: &str) -> Vec<u64> {
    let distances = text.split_whitespace().map(|word| number(word.as_bytes()));
    distances.collect::<Option<_>>().unwrap_or_default()
}

/// Parses the I/O scheduler from `queue/scheduler` of a block device: the word in brackets of
/// `none [mq-deadline] kyber` (`block/elevator.c`, `elv_iosched_show`), or a lone word.
pub fn parse_io_scheduler(text: &str) -> Option<String> {
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    let mut words = text.split_whitespace();
    let lone = words.next().filter(|_| words.next().is_none());
    chosen.or(lone).map(str::to_owned)
}

/// Parses the name of the operating system from an `os-release` file (`os-release(5)`):
/// `PRETTY_NAME`, else `NAME`.
pub fn parse_os_name(text: &str) -> Option<String> {
    let value = |name: &str| {
        let quoted = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        let value = quoted.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    value("PRETTY_NAME").or_else(|| value("NAME"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_model_is_that_of_the_first_cpu() {
        let text = b"processor\t: 0\nmodel name\t: Some CPU @ 2.40GHz\nmodel name\t: Another\n";
        assert_eq!(parse_cpu_model(text).as_deref(), Some("Some CPU @ 2.40GHz"));
        assert_eq!(parse_cpu_model(b"processor\t: 0\nmodel name\t:\n"), None);
    }

    #[test]
    fn names_with_other_ends_have_no_number() {
        assert_eq!(parse_index("cpu12", "cpu"), Some(12));
        assert_eq!(parse_index("cpufreq", "cpu"), None);
        assert_eq!(parse_index("node4294967296", "node"), None);
        assert_eq!(parse_huge_page_size("hugepages-2048kB"), Some(2 << 20));
        assert_eq!(parse_huge_page_size("hugepages-2048MB"), None);
    }

    #[test]
    fn cpus_are_listed_in_ranges() {
        let cpus = |text| parse_cpu_list(text).map(Vec::from_iter);
        assert_eq!(cpus("0\n"), Some(vec![0]));
        assert_eq!(cpus("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        for wrong in ["", "a", "0-", "0-99999999"] {
            assert_eq!(cpus(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_of_caches_are_in_kibibytes() {
        assert_eq!(parse_cache_size("32K\n"), Some(32 << 10));
        for wrong in ["32", "K", "32M", "18446744073709551615K"] {
            assert_eq!(parse_cache_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn distances_are_numbers() {
        assert_eq!(parse_distances("10 21\n"), [10, 21]);
        assert!(parse_distances("10 near").is_empty() && parse_distances("").is_empty());
    }

    #[test]
    fn the_scheduler_is_the_chosen_one() {
        assert_eq!(parse_io_scheduler("none"), Some("none".to_owned()));
        assert_eq!(parse_io_scheduler("[none] mq-deadline"), Some("none".to_owned()));
        assert_eq!(parse_io_scheduler("a b"), None);
    }

    #[test]
    fn the_pretty_name_comes_first() {
        let text = "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(parse_os_name(text).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(parse_os_name("NAME=Alpine\n").as_deref(), Some("Alpine"));
        assert_eq!(parse_os_name("NAMES=x\nPRETTY_NAME=\"\"\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(bytes: Vec<u8>, text: String) {
            parse_cpu_model(&bytes);
            parse_index(&text, "cpu");
            parse_huge_page_size(&format!("hugepages-{text}kB"));
            parse_cpu_list(&text);
            parse_distances(&text);
            parse_cache_size(&format!("{text}K"));
            parse_io_scheduler(&text);
            parse_os_name(&text);
        }
    }
}
