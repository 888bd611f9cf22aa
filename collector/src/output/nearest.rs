//! Suggestions for misspelt names. Pure.

use strsim::osa_distance;

/// How many names a message offers.
const MAX_OFFERED: usize = 3;

/// The names most similar to `wanted`, the best first; none if no name is similar.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let length = wanted.chars().count();
    let limit = (length / 3).max(1);
    let mut close: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            if length >= 3 && lower.contains(&wanted) {
                return Some((0, name));
            }
            let near = name.chars().count().abs_diff(length) <= limit;
            let edits = near.then(|| osa_distance(&lower, &wanted))?;
            (edits <= limit).then_some((edits, name))
        })
        .collect();
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(MAX_OFFERED).map(|(_, name)| name).collect()
}

/// `; did you mean …?`, or nothing if no name is similar.
pub fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wanted, names).join(", ") {
        meant if meant.is_empty() => meant,
        meant => format!("; did you mean {meant}?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_first() {
        let names = ["postgres", "postgrest", "redis", "web-1", "web-2", "web-3", "web-4"];
        assert_eq!(nearest("postgers", names), ["postgres", "postgrest"]);
        assert_eq!(nearest("REDSI", names), ["redis"]);
        assert_eq!(nearest("web", names), ["web-1", "web-2", "web-3"]);
        assert!(nearest("", names).is_empty() && nearest("zzzz", names).is_empty());
        assert_eq!(did_you_mean("rdis", names), "; did you mean redis?");
        assert_eq!(did_you_mean("zzzz", names), "");
    }
}
