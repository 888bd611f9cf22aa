//! Configuration → sinks: everything that can be wrong is found before anything starts.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use anyhow::{Context as _, Result, anyhow, bail};
use strsim::osa_distance;

use crate::{
    config::{Run, Sink},
    export::{Protocol, SCHEMES, Scheme, spool::SinkSpool, subject::CATALOG, url::SinkUrl},
};

/// A name within this edit distance of an unknown one is suggested.
const EDITS_MAX: usize = 3;

/// A sink that is ready to start.
pub(crate) struct PreparedSink {
    /// Where the configuration names it.
    place: String,
    pub(super) name: String,
    pub(super) scheme: &'static Scheme,
    pub(super) every: u64,
    pub(super) labels: Vec<(String, String)>,
    pub(super) wanted: Vec<bool>,
    pub(super) protocol: Protocol,
    /// `None` also for a sink that is at work and has opened its own.
    pub(super) spool: Option<SinkSpool>,
    pub(super) queue_bytes: usize,
}

/// Prepares all sinks. `present` has the schemes of those that are at work, by name.
///
/// # Errors
///
/// The first mistake, with the place in the configuration.
pub(crate) fn prepare(
    run: &Run,
    present: &HashMap<String, &'static Scheme>,
) -> Result<Vec<PreparedSink>> {
    let mut names = HashSet::new();
    let mut sinks = Vec::new();
    for sink in &run.sinks {
        let prepared = prepare_one(sink, run, present).with_context(|| sink.place.clone())?;
        if !names.insert(prepared.name.clone()) {
            bail!(
                "{}: two sinks have the name `{}`: give one of them another `name`",
                sink.place,
                prepared.name
            );
        }
        sinks.push(prepared);
    }
    Ok(sinks)
}

/// Connects to each sink once.
///
/// # Errors
///
/// What the first one that cannot be reached says.
pub(crate) async fn check(sinks: &[PreparedSink]) -> Result<()> {
    for PreparedSink { place, name, protocol, .. } in sinks {
        let checked = protocol.transport.check().await;
        checked.map_err(|failure| {
            let message = failure.message();
            anyhow!("{place}: {name}: {message}; start the receiver, or correct its `url`")
        })?;
    }
    Ok(())
}

fn prepare_one(
    sink: &Sink,
    run: &Run,
    present: &HashMap<String, &'static Scheme>,
) -> Result<PreparedSink> {
    let url = SinkUrl::parse(&sink.url).map_err(|message| anyhow!("`url` {message}"))?;
    let scheme = scheme(&url.scheme)?;
    let name = sink.name.clone().unwrap_or_else(|| url.to_string());
    let every = every(sink, run)?;
    let wanted = wanted(&sink.families)?;
    let protocol = (scheme.make)(sink, &url)?;
    let at_work = present.get(&name);
    if at_work.is_some_and(|known| known.names != scheme.names) {
        bail!("a running sink cannot change its protocol: give it another `name`");
    }
    // A running daemon may use it.
    let spool = run.spool.as_ref().filter(|_| !run.check_config && at_work.is_none());
    let spool = spool.map(|spool| SinkSpool::open(spool, &name)).transpose()?;
    Ok(PreparedSink {
        place: sink.place.clone(),
        name,
        scheme,
        every,
        labels: labels(sink, scheme, run.hostname.as_deref())?,
        wanted,
        protocol,
        spool,
        queue_bytes: usize::try_from(sink.queue_bytes).unwrap_or(usize::MAX),
    })
}

fn scheme(name: &str) -> Result<&'static Scheme> {
    let found = SCHEMES.iter().find(|scheme| scheme.names.contains(&name));
    found.ok_or_else(|| {
        let names = || SCHEMES.iter().flat_map(|scheme| scheme.names.iter().copied());
        match nearest(name, names()) {
            Some(near) => anyhow!("there is no protocol `{name}`; did you mean `{near}`?"),
            None => {
                let examples: Vec<_> = SCHEMES.iter().map(|scheme| scheme.example).collect();
                anyhow!("there is no protocol `{name}`; write one of {}", examples.join(", "))
            }
        }
    })
}

/// After how many samples it is due.
fn every(sink: &Sink, run: &Run) -> Result<u64> {
    let Some(interval) = sink.interval else { return Ok(1) };
    let (wanted, tick) = (interval.as_millis(), run.interval.as_millis().max(1));
    if wanted == 0 || wanted % tick != 0 {
        let rounded = wanted.div_ceil(tick).max(1) * tick;
        bail!(
            "`interval` must be a multiple of the time between samples ({} ms); write `{rounded}ms`",
            run.interval.as_millis()
        );
    }
    u64::try_from(wanted / tick).context("`interval` is too long")
}

/// Which entries of the catalogue belong to these families.
fn wanted(names: &[String]) -> Result<Vec<bool>> {
    for name in names {
        if !CATALOG.iter().any(|entry| entry.family == name) {
            let mut families: Vec<_> = CATALOG.iter().map(|entry| entry.family).collect();
            families.dedup();
            bail!(match nearest(name, families.iter().copied()) {
                Some(near) => format!("there is no family `{name}`; did you mean `{near}`?"),
                None => format!("there is no family `{name}`; there are {}", families.join(", ")),
            });
        }
    }
    let is_wanted = |family: &str| names.is_empty() || names.iter().any(|name| name == family);
    Ok(CATALOG.iter().map(|entry| is_wanted(entry.family)).collect())
}

/// Those of the sink and, where it has none of the name, those of the protocol.
fn labels(sink: &Sink, scheme: &Scheme, hostname: Option<&str>) -> Result<Vec<(String, String)>> {
    let mut labels = sink.labels.clone();
    let kernels = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = hostname.map_or_else(kernels, str::to_owned);
    let host = [(scheme.host_label, host.trim())];
    for (name, value) in host.iter().chain(scheme.labels) {
        labels.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
    }
    for name in labels.keys() {
        let mut chars = name.chars();
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if !chars.next().is_some_and(is_start) || !chars.all(is_rest) {
            bail!("`{name}` is no name of a label: use letters, digits and `_`");
        }
    }
    Ok(labels.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (osa_distance(known, name), known)).min();
    near.filter(|(edits, _)| *edits <= EDITS_MAX).map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::Cli,
        config::{Command, Config},
        export::fixture,
    };

    fn prepared(sinks: Vec<Sink>) -> Result<Vec<PreparedSink>> {
        let cli = Cli::try_parse_from(["tare", "run"]).unwrap();
        let Command::Run(mut run) = Config::from(cli).command else { unreachable!() };
        run.sinks = sinks;
        prepare(&run, &HashMap::new())
    }

    fn fault(sink: Sink) -> String {
        format!("{:#}", prepared(vec![sink]).err().unwrap())
    }

    #[test]
    fn mistakes_name_the_place_and_the_remedy() {
        let sink = || fixture::sink("stdout:");
        let of = |url| fixture::sink(url);
        for (sink, said) in [
            (
                of("influxx+http://a"),
                "there is no protocol `influxx+http`; did you mean `influx+http`?",
            ),
            (
                of("kafka://a"),
                "there is no protocol `kafka`; write one of influx+http://HOST:8086/?db=NAME, ",
            ),
            (of("influx+http://a"), "`url` needs `?db=NAME` for InfluxDB 1"),
            (of("graphite:"), "the URL names no host: write graphite://HOST"),
            (of("nonsense"), "`url` is no URL, such as influx+http://host:8086/?db=tare"),
            (of("prometheus+http://a?version=3"), "there is no version `3` of remote write"),
            (
                Sink { families: vec!["cpuu".to_owned()], ..sink() },
                "there is no family `cpuu`; did you mean `cpu`?",
            ),
            (
                Sink { families: vec!["everything".to_owned()], ..sink() },
                "there is no family `everything`; there are block, cpu, ",
            ),
            (
                Sink { interval: Some(Duration::from_millis(2500)), ..sink() },
                "`interval` must be a multiple of the time between samples (1000 ms); write `3000ms`",
            ),
            (
                Sink { labels: BTreeMap::from([("a-b".to_owned(), String::new())]), ..sink() },
                "`a-b` is no name of a label",
            ),
            (
                Sink { token_file: Some("/nonexistent".into()), ..of("prometheus+http://a") },
                "cannot read /nonexistent: No such file or directory",
            ),
            (
                Sink { ca_file: Some("/dev/null".into()), ..of("otlp+https://a") },
                "/dev/null: no certificates in PEM",
            ),
            (
                Sink { ca_file: Some("/dev/null".into()), ..of("otlp+http://a") },
                "`ca-file` needs an encrypted connection: write otlp+https://",
            ),
        ] {
            let error = fault(sink);
            assert!(error.starts_with(&format!("--sink: {said}")), "{error}");
        }
        let twice = prepared(vec![sink(), sink()]).err().unwrap().to_string();
        assert!(twice.contains("two sinks have the name `stdout:`"), "{twice}");
    }

    #[test]
    fn a_sink_has_the_host_among_its_labels_and_wants_its_families() {
        let families = vec!["cpu".to_owned()];
        let sink = Sink { families, ..fixture::sink("prometheus+http://a") };
        let prepared = prepared(vec![sink]).unwrap().remove(0);
        let names: Vec<_> = prepared.labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["instance", "job"]);
        let wanted = CATALOG.iter().zip(&prepared.wanted).filter(|(_, wanted)| **wanted);
        assert!(wanted.clone().all(|(entry, _)| entry.family == "cpu") && wanted.count() > 5);
    }
}
