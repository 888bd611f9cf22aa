//! A collectd that runs `tare collectd` and writes what it gets into CSV files.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use tare_tests::{
    binaries, docker::Container, lab::Lab, process::Process, tare_daemon::TareDaemon,
};

use crate::{Samples, read::METRICS, servers::named};

/// A running collectd; stopped on drop.
pub(crate) struct Collectd {
    csv: PathBuf,
    _process: Process,
}

impl Collectd {
    /// Starts it. The plugin asks the daemon every two seconds.
    pub(crate) fn start(lab: &Lab, daemon: &TareDaemon) -> Result<Self> {
        let (root, directory) = (named("TARE_COLLECTD")?, lab.scratch.subdirectory()?);
        // collectd runs plugins as a user without rights, who can reach this copy.
        let tare = directory.join("tare");
        fs::copy(binaries::tare()?, &tare)?;
        let csv = directory.join("csv");
        let config = directory.join("collectd.conf");
        let text = format!(
            "Hostname \"lab\"\nBaseDir \"{base}\"\nPIDFile \"{base}/pid\"\nInterval 2\n\
             PluginDir \"{root}/usr/lib/collectd\"\nTypesDB \"{root}/usr/share/collectd/types.db\"\n\
             LoadPlugin csv\n<Plugin csv>\nDataDir \"{csv}\"\nStoreRates false\n</Plugin>\n\
             LoadPlugin exec\n<Plugin exec>\n\
             Exec \"nobody:root\" \"{tare}\" \"collectd\" \"--daemon\" \"{socket}\"\n</Plugin>\n",
            base = directory.display(),
            root = root.display(),
            csv = csv.display(),
            tare = tare.display(),
            socket = daemon.socket().display(),
        );
        fs::write(&config, text)?;
        let mut collectd = Command::new(root.join("usr/sbin/collectd"));
        collectd.arg("-f").arg("-C").arg(&config);
        let process = Process::spawn(collectd)?;
        Ok(Self { csv, _process: process })
    }

    /// The CPU time in its files, in milliseconds, is that of `rows_min` samples at least.
    pub(crate) fn ensure_values(
        &self,
        containers: &[Container],
        samples: &Samples,
        rows_min: usize,
    ) -> Result<()> {
        for container in containers {
            let wanted = samples.iter().filter_map(|(time, sample)| {
                let value = sample.get(&(container.name().to_owned(), METRICS[0].name))?;
                Some(format!("{:.3},{}", (time / 1_000_000) as f64 / 1e3, (value * 1e3).round()))
            });
            let wanted: Vec<_> = wanted.collect();
            let directory = self.csv.join("lab").join(format!("tare-{}", container.name()));
            let files = fs::read_dir(&directory).with_context(|| format!("{directory:?}"))?;
            let mut rows = String::new();
            for path in files.filter_map(|file| Some(file.ok()?.path())) {
                if path.to_string_lossy().contains("total_time_in_ms-cpu_usage") {
                    rows += &fs::read_to_string(path)?;
                }
            }
            let found = wanted.iter().filter(|row| rows.lines().any(|line| line == *row)).count();
            ensure!(found >= rows_min, "collectd has {found} of {wanted:?} in {rows}");
        }
        println!("collectd, CSV: {} containers", containers.len());
        Ok(())
    }
}
