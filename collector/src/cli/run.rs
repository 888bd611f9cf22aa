//! Options of `tare run`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use crate::{
    cli::values::{bytes, duration, interval, socket},
    identity::Socket,
    output::{Scope, prometheus::LabelSet},
};

/// Where the daemon and those who ask it meet, unless they are told another place.
pub const DEFAULT_SOCKET: &str = "/run/tare/tare.sock";

/// Options of `tare run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// File with these and the global options by their names, in TOML; the command line and the
    /// environment go before it
    #[arg(long, env = "TARE_CONFIG", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to serve on, more than one if repeated or parted by commas; `off` for none
    #[arg(long, env = "TARE_LISTEN", hide_env_values = true, value_delimiter = ',')]
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:9753", value_parser = listen)]
    pub listen: Vec<Listen>,
    /// Unix socket to serve on as well, for the owner and the group of the process: a path, `off`,
    /// or `auto` (/run/tare/tare.sock, if that can be)
    #[arg(long, env = "TARE_SOCKET", hide_env_values = true)]
    #[arg(value_name = "PATH", default_value = "auto", value_parser = socket())]
    pub socket: Socket,
    /// Chain of certificates for TLS over TCP, in PEM
    #[arg(long, env = "TARE_TLS_CERT", hide_env_values = true)]
    #[arg(value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, env = "TARE_TLS_KEY", hide_env_values = true)]
    #[arg(value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Ask over TCP only with one of the tokens in this file, one on each line
    #[arg(long, env = "TARE_TOKEN_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Ask over TCP only with a name and password in this file, `name:password` on each line
    #[arg(long, env = "TARE_BASIC_AUTH_FILE", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub basic_auth_file: Option<PathBuf>,
    /// Connections that may be open at a time; more are refused
    #[arg(long, env = "TARE_MAX_CONNECTIONS", hide_env_values = true)]
    #[arg(value_name = "N", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections: u32,
    /// Time between two samples, from 100ms to 1h
    #[arg(long, env = "TARE_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// What is sampled
    #[arg(long, env = "TARE_SCOPE", hide_env_values = true)]
    #[arg(value_enum, default_value_t)]
    pub scope: Scope,
    /// Which labels tell containers' metrics apart: those of cAdvisor on its own, or in the kubelet
    #[arg(long, env = "TARE_LABEL_SET", hide_env_values = true)]
    #[arg(value_enum, default_value_t, value_name = "SET")]
    pub label_set: LabelSet,
    /// Put the time of the sample behind containers' metrics
    #[arg(long, env = "TARE_TIMESTAMPS", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub timestamps: bool,
    /// Ended containers whose totals are metrics, the latest first
    #[arg(long, env = "TARE_ENDED_METRICS", hide_env_values = true)]
    #[arg(value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub ended_metrics: u32,
    /// How long a history to keep; `0s` for none
    #[arg(long, env = "TARE_HISTORY", hide_env_values = true)]
    #[arg(value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub history: Duration,
    /// What the history may take in memory; the oldest goes first
    #[arg(long, env = "TARE_HISTORY_MEMORY", hide_env_values = true)]
    #[arg(value_name = "BYTES", default_value = "8MiB", value_parser = bytes)]
    pub history_memory: u64,
    /// CPU time that Tare may use, in percent of one CPU, before it gives things up: histograms, the
    /// history, most readings of memory.stat, then the interval grows [default: no limit]
    #[arg(long, env = "TARE_MAX_CPU", hide_env_values = true)]
    #[arg(value_name = "PERCENT", value_parser = percent)]
    pub max_cpu: Option<u32>,
    /// Resident memory that Tare may use before it gives up histograms and the history
    /// [default: no limit]
    #[arg(long, env = "TARE_MAX_MEMORY", hide_env_values = true)]
    #[arg(value_name = "BYTES", value_parser = bytes)]
    pub max_memory: Option<u64>,
    /// How often to count the runs of Tare's BPF programs, for one second each; needs CAP_SYS_ADMIN,
    /// and keeps it; from 10s to 24h, or 0 for never [default: once, at the start]
    #[arg(long, env = "TARE_BPF_STATS_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "DURATION", value_parser = bpf_stats_interval)]
    pub bpf_stats_interval: Option<Duration>,
    /// CPU priority of the thread that samples, as a nice value from -20 (first) to 19 (last). With
    /// little priority on a busy host, last totals of short-lived containers are lost; a value below
    /// the present one needs CAP_SYS_NICE [default: -20 where allowed]
    #[arg(long, env = "TARE_NICE", hide_env_values = true)]
    #[arg(value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i8).range(-20..=19))]
    pub nice: Option<i8>,
}

/// An address to serve on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// This one.
    On(SocketAddr),
    /// None.
    Off,
}

fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Off),
        address => address
            .parse()
            .map(Listen::On)
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:9753".to_owned()),
    }
}

/// Percent of one CPU, as millionths.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    if (0.01..=10_000.0).contains(&percent) {
        Ok((percent * 1e4) as u32)
    } else {
        Err("must be from 0.01% to 10000%".to_owned())
    }
}

/// What counting costs is bounded by how seldom it is done.
fn bpf_stats_interval(text: &str) -> Result<Duration, String> {
    let duration = if text.trim() == "0" { Duration::ZERO } else { duration(text)? };
    let allowed = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
    if duration.is_zero() || allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 10s to 24h, or 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_programs_are_counted_seldom_or_never() {
        let seconds = |text| bpf_stats_interval(text).map(|interval| interval.as_secs());
        assert_eq!((seconds("0"), seconds("0s"), seconds("1m")), (Ok(0), Ok(0), Ok(60)));
        assert!(seconds("9s").is_err() && seconds("25h").is_err() && seconds("60").is_err());
    }

    #[test]
    fn percents_of_a_cpu() {
        assert_eq!(
            (percent("1%"), percent("0.25"), percent("250 %")),
            (Ok(10_000), Ok(2_500), Ok(2_500_000))
        );
        for text in ["", "%", "0", "-1%", "NaN", "inf", "1e9"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_told_from_names() {
        assert_eq!(listen("off"), Ok(Listen::Off));
        assert!(listen("[::1]:80").is_ok() && listen("localhost:80").is_err());
    }
}
