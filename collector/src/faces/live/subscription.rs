//! What a client of `/api/v1/live` wants to see. Pure.

use crate::output::filter::{self, Filters};

/// The most ticks between two messages.
const EVERY_MAX: u32 = 3600;

/// The longest accepted text of a subscription, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What is sent, and how often. Equal subscriptions share their messages.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subscription {
    /// Which containers.
    pub(super) selection: Selection,
    /// A message is sent every so many ticks.
    pub(super) every: u32,
}

/// Which containers a subscription is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Selection {
    /// A short row of each container that fits.
    Rows(Filters),
    /// Everything about one container, by its name, its id or the beginning of its id.
    One(String),
}

impl Subscription {
    /// Reads `container`, `filter` (which may be repeated) and `every`.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(super) fn parse(
        container: Option<String>,
        filters: &[String],
        every: Option<&str>,
    ) -> Result<Self, String> {
        let length = filters.iter().chain(&container).map(String::len).sum::<usize>();
        if length > TEXT_BYTES_MAX {
            return Err(format!("`container` and `filter` are longer than {TEXT_BYTES_MAX} bytes"));
        }
        let every = every.map_or(Ok(1), |text| {
            let number = text.parse().ok().filter(|number| (1..=EVERY_MAX).contains(number));
            number.ok_or_else(|| format!("`every` must be a number of ticks from 1 to {EVERY_MAX}"))
        })?;
        let selection = match container {
            Some(name) if name.is_empty() => return Err("`container` needs a name".to_owned()),
            Some(_) if !filters.is_empty() => {
                return Err("`container` and `filter` exclude each other".to_owned());
            }
            Some(name) => Selection::One(name),
            None => {
                let parsed = filters.iter().map(|text| filter::parse(text));
                Selection::Rows(Filters(parsed.collect::<Result<_, _>>()?))
            }
        };
        Ok(Self { selection, every })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        container: Option<&str>,
        filters: &[&str],
        every: Option<&str>,
    ) -> Result<Subscription, String> {
        let filters: Vec<_> = filters.iter().map(|&text| text.to_owned()).collect();
        Subscription::parse(container.map(str::to_owned), &filters, every)
    }

    #[test]
    fn all_some_or_one() {
        let all = parse(None, &[], None).unwrap();
        assert_eq!(all, Subscription { selection: Selection::Rows(Filters::default()), every: 1 });
        assert_eq!(parse(None, &["name=w*"], Some("5")).unwrap().every, 5);
        assert_eq!(parse(Some("web"), &[], None).unwrap().selection, Selection::One("web".into()));
        assert_ne!(parse(None, &["name=w*"], None), parse(None, &["name=x*"], None));
    }

    #[test]
    fn mistakes_are_reported() {
        let long = format!("name={}", "x".repeat(TEXT_BYTES_MAX));
        for (container, filters, every, message) in [
            (None, &[][..], Some("0"), "`every` must be"),
            (None, &[], Some("-1"), "`every` must be"),
            (None, &[], Some("3601"), "`every` must be"),
            (None, &["nam=x"], None, "no filter looks at `nam`"),
            (None, &[long.as_str()], None, "longer than"),
            (Some("web"), &["name=x"], None, "exclude each other"),
            (Some(""), &[], None, "needs a name"),
        ] {
            let error = parse(container, filters, every).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
