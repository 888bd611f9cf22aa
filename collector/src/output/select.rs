//! Which rows of a report the user asked for. Pure.

use std::fmt;

use anyhow::{Error, anyhow};
use tare_model::{Container, Family, Kind, Report, Sources};

use crate::output::{Scope, filter::Filters, nearest::nearest, text::printable};

/// How many ids a message about an ambiguous prefix offers.
const MAX_OFFERED: usize = 3;

/// Names and ids that fit no row, and prefixes that fit several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNames {
    /// They, in the order of the arguments.
    pub names: Vec<UnknownName>,
}

/// A name or id that does not fit exactly one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// As the user gave it.
    pub wanted: String,
    /// Whether it is the prefix of several ids, including those in `offered`.
    pub ambiguous: bool,
    /// What the user may have meant, the best first.
    pub offered: Vec<String>,
}

/// Keeps the rows that `wanted` names: by exact name, by full id, or by an id prefix that fits only
/// one container. `nginx` also names the service `nginx.service`. An empty `wanted` keeps all rows.
///
/// # Errors
///
/// If a name does not fit exactly one row. The rows that fit are kept nevertheless: a container may
/// end while others are watched.
pub fn select(report: &mut Report, wanted: &[String]) -> Result<(), UnknownNames> {
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = &report.containers;
    let mut keep = vec![false; rows.len()];
    let mut names = Vec::new();
    for wanted in wanted {
        match find(rows, wanted) {
            Ok(found) => found.into_iter().for_each(|index| keep[index] = true),
            Err(unknown_name) => names.push(unknown_name),
        }
    }
    report.ended.retain(|ended| wanted.iter().any(|wanted| is_called(&ended.container, wanted)));
    names.retain(|unknown_name: &UnknownName| {
        !report.ended.iter().any(|ended| is_called(&ended.container, &unknown_name.wanted))
    });
    let mut keep = keep.into_iter();
    report.containers.retain(|_| keep.next().unwrap_or(false));
    if names.is_empty() { Ok(()) } else { Err(UnknownNames { names }) }
}

/// Keeps the rows in `scope` that fit the filters. A table does not need this: it chooses its rows
/// itself, because it shows other rows where none is in scope.
pub fn retain_rows(report: &mut Report, scope: Scope, filters: &Filters) {
    report.containers.retain(|row| in_scope(row.kind, scope) && filters.fit(row));
    report.ended.retain(|ended| filters.fit(&ended.container));
}

/// Whether rows of a kind are in a scope.
pub fn in_scope(kind: Kind, scope: Scope) -> bool {
    match scope {
        Scope::Containers => kind == Kind::Container,
        Scope::Services => kind == Kind::Service,
        Scope::All => true,
    }
}

/// Adds the reason why a name may be unknown although its container is running.
pub fn explained(unknown: UnknownNames, sources: &Sources) -> Error {
    let identity = sources.get(&Family::Identity).and_then(|source| source.reason.as_ref());
    match identity {
        Some(reason) => anyhow!("{unknown}; names may be missing, ids are not: {reason}"),
        None => unknown.into(),
    }
}

/// Whether a container has this name, or an id that begins with it.
pub fn is_called(row: &Container, wanted: &str) -> bool {
    row.name.as_deref() == Some(wanted) || row.id.starts_with(wanted)
}

impl fmt::Display for UnknownNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, unknown_name) in self.names.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            let wanted = printable(&unknown_name.wanted);
            let offered: Vec<_> = unknown_name.offered.iter().map(|name| printable(name)).collect();
            let offered = offered.join(", ");
            match (unknown_name.ambiguous, offered.is_empty()) {
                (true, _) => write!(f, "`{wanted}` starts several ids, such as {offered}")?,
                (false, true) => write!(f, "nothing here is called `{wanted}`")?,
                (false, false) => {
                    write!(f, "nothing here is called `{wanted}`; did you mean {offered}?")?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for UnknownNames {}

/// The indices of the rows that `wanted` names.
///
/// # Errors
///
/// If there is none, or if it is the prefix of several ids.
pub fn find(rows: &[Container], wanted: &str) -> Result<Vec<usize>, UnknownName> {
    let which = |test: &dyn Fn(&Container) -> bool| -> Vec<usize> {
        rows.iter().enumerate().filter(|(_, row)| test(row)).map(|(index, _)| index).collect()
    };
    let exact = which(&|row| row.id == wanted || row.name.as_deref() == Some(wanted));
    if !exact.is_empty() {
        return Ok(exact);
    }
    let unit =
        which(&|row| row.kind == Kind::Service && row.id.strip_suffix(".service") == Some(wanted));
    if !unit.is_empty() {
        return Ok(unit);
    }
    let prefix = which(&|row| {
        row.kind == Kind::Container && !wanted.is_empty() && row.id.starts_with(wanted)
    });
    let unknown_name =
        |ambiguous, offered| UnknownName { wanted: wanted.to_owned(), ambiguous, offered };
    match prefix.len() {
        0 => {
            let names = rows.iter().map(|row| row.name.as_deref().unwrap_or(&row.id));
            let near = nearest(wanted, names).into_iter().map(str::to_owned);
            Err(unknown_name(false, near.collect()))
        }
        1 => Ok(prefix),
        _ => {
            let ids = prefix.iter().take(MAX_OFFERED).map(|&index| rows[index].id.clone());
            Err(unknown_name(true, ids.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    fn sample() -> Report {
        let mut db = fixture::unknown(Kind::Container, "3f99");
        db.name = Some("postgres".to_owned());
        fixture::report(vec![
            fixture::web(),
            db,
            fixture::unknown(Kind::Service, "ssh.service"),
            fixture::unknown(Kind::Other, "/docker"),
        ])
    }

    fn selected(wanted: &[&str]) -> (Vec<String>, Option<String>) {
        let mut report = sample();
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let error = select(&mut report, &wanted).err().map(|error| error.to_string());
        let names = report.containers.into_iter().map(|row| row.name.unwrap_or(row.id));
        (names.collect(), error)
    }

    #[test]
    fn by_name_id_and_prefix() {
        for (wanted, name) in [
            ("web", "web"),
            (fixture::ID, "web"),
            ("3f4", "web"),
            ("3f9", "postgres"),
            ("ssh.service", "ssh.service"),
            ("ssh", "ssh.service"),
            ("/docker", "/docker"),
        ] {
            assert_eq!(selected(&[wanted]), (vec![name.to_owned()], None), "{wanted}");
        }
        assert_eq!(selected(&[]).0.len(), 4);
        assert_eq!(selected(&["postgres", "web", "3f4e"]).0, ["web", "postgres"]);
    }

    #[test]
    fn an_unknown_name_offers_similar_ones_and_the_other_rows_are_kept() {
        let (rows, error) = selected(&["web", "3f", "postgers", "zzz", ""]);
        assert_eq!(rows, ["web"]);
        let expected = format!(
            "`3f` starts several ids, such as {}, 3f99; nothing here is called `postgers`; did you \
             mean postgres?; nothing here is called `zzz`; nothing here is called ``",
            fixture::ID
        );
        assert_eq!(error.unwrap(), expected);
    }

    #[test]
    fn scopes() {
        for (scope, rows) in [(Scope::Containers, 2), (Scope::Services, 1), (Scope::All, 4)] {
            let mut report = sample();
            retain_rows(&mut report, scope, &Filters::default());
            assert_eq!(report.containers.len(), rows);
        }
    }
}
