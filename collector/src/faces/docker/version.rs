//! Versions of the API.

use super::Failure;

/// The newest version that is spoken. 1.52 renames fields of events that older clients need.
pub(super) const NEWEST: &str = "1.51";

/// The oldest version that is spoken.
pub(super) const OLDEST: &str = "1.24";

/// Versions from the oldest to this minor number are accepted: newer ones only add what is not
/// asked for here.
const ACCEPTED: std::ops::RangeInclusive<u32> = 24..=59;

/// The version that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// Reads the first segment of a path, such as `v1.41`; `None` if it is none of a version.
pub(super) fn parse(segment: &str) -> Option<Version> {
    let (major, minor) = segment.strip_prefix('v')?.split_once('.')?;
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

impl Version {
    /// Refuses versions that are not spoken.
    pub(super) fn check(self) -> Result<(), Failure> {
        let Self { major, minor } = self;
        if major == 1 && ACCEPTED.contains(&minor) {
            return Ok(());
        }
        Err(Failure::bad(&if (major, minor) < (1, *ACCEPTED.start()) {
            format!(
                "client version {major}.{minor} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
            )
        } else {
            format!(
                "client version {major}.{minor} is too new. Maximum supported API version is {NEWEST}"
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_of_the_engine_are_accepted() {
        for good in ["v1.24", "v1.41", "v1.51", "v1.55"] {
            parse(good).unwrap().check().unwrap();
        }
        for (bad, said) in
            [("v1.23", "too old"), ("v0.9", "too old"), ("v1.60", "too new"), ("v2.0", "too new")]
        {
            let failure = parse(bad).unwrap().check().unwrap_err();
            assert!(failure.message.contains(said), "{failure:?}");
        }
        for no_version in ["", "v", "v1", "v1.x", "1.41", "version", "v1.41.2", "v-1.2"] {
            assert_eq!(parse(no_version), None, "{no_version}");
        }
    }
}
