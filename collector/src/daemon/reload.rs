//! `SIGHUP` reads the configuration again and applies what can change while the daemon runs.

use crate::{
    config::{self, Command, Common, Config, Run},
    daemon::{Control, Daemon, notify},
    export::Exporter,
    server::LiveConfig,
};

impl Daemon {
    /// Reads the configuration again. If anything in it is wrong, nothing changes.
    pub(super) fn reload(&mut self, control: &Control, exporter: &Exporter) {
        notify::reloading();
        match config::read(&control.arguments) {
            Ok(Config { common, command: Command::Run(run) }) => {
                self.apply(control, exporter, common, *run);
            }
            Ok(_) => {}
            Err(fault) => tracing::error!("the configuration stays as it is: {fault}"),
        }
        notify::notify(notify::READY);
    }

    fn apply(&mut self, control: &Control, exporter: &Exporter, common: Common, mut run: Run) {
        let fixed = keep_fixed(&self.common, &common, &self.config.borrow().run, &mut run);
        let prepared = exporter.prepare(&run).and_then(|sinks| Ok((sinks, LiveConfig::load(run)?)));
        let (sinks, config) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!("the configuration stays as it is: {error:#}");
                return;
            }
        };
        control.logging.set_level(common.log_level);
        self.collector.sampler.receipts.limit(common.receipts, common.receipt_ttl);
        let Common { log_level, receipts, receipt_ttl, memory_stat_interval, .. } = common;
        let former = self.common.clone();
        self.common = Common { log_level, receipts, receipt_ttl, memory_stat_interval, ..former };
        self.set_intervals(&config.run);
        if let Err(error) = exporter.replace(&config.run, sinks) {
            tracing::error!("the sinks stay as they are: {error:#}");
        }
        self.config.send_replace(config.into());
        tracing::info!("the configuration was read again");
        if !fixed.is_empty() {
            tracing::warn!("changes that need a restart: {}", fixed.join(", "));
        }
    }
}

/// Restores options that cannot change while the daemon runs; the names of those that would have
/// changed.
fn keep_fixed(
    old_common: &Common,
    common: &Common,
    old_run: &Run,
    run: &mut Run,
) -> Vec<&'static str> {
    let wanted = run.clone();
    run.listen.clone_from(&old_run.listen);
    run.socket.clone_from(&old_run.socket);
    run.docker_api.socket.clone_from(&old_run.docker_api.socket);
    run.docker_api.group.clone_from(&old_run.docker_api.group);
    run.docker_api.listen.clone_from(&old_run.docker_api.listen);
    run.acadock_api = old_run.acadock_api;
    run.cadvisor_api = old_run.cadvisor_api;
    run.scope = old_run.scope;
    run.max_connections = old_run.max_connections;
    run.history_memory = old_run.history_memory;
    run.bpf_stats_interval = old_run.bpf_stats_interval;
    run.perf_events.clone_from(&old_run.perf_events);
    run.nice = old_run.nice;
    run.spool.clone_from(&old_run.spool);
    run.record.clone_from(&old_run.record);
    let changed = [
        ("listen", wanted.listen != run.listen),
        ("socket", wanted.socket != run.socket),
        ("docker-api-socket", wanted.docker_api.socket != run.docker_api.socket),
        ("docker-api-group", wanted.docker_api.group != run.docker_api.group),
        ("docker-api-listen", wanted.docker_api.listen != run.docker_api.listen),
        ("acadock-api", wanted.acadock_api != run.acadock_api),
        ("hostname", wanted.hostname != run.hostname),
        ("cadvisor-api", wanted.cadvisor_api != run.cadvisor_api),
        ("scope", wanted.scope != run.scope),
        ("max-connections", wanted.max_connections != run.max_connections),
        ("history-memory", wanted.history_memory != run.history_memory),
        ("bpf-stats-interval", wanted.bpf_stats_interval != run.bpf_stats_interval),
        ("perf-events", wanted.perf_events != run.perf_events),
        ("nice", wanted.nice != run.nice),
        ("sink-spool", wanted.spool != run.spool),
        ("record", wanted.record != run.record),
        ("bpf", common.bpf != old_common.bpf),
        ("tasks", common.tasks != old_common.tasks),
        ("net-level", common.net_level != old_common.net_level),
        ("cgroup-root", common.cgroup_root != old_common.cgroup_root),
        ("proc-root", common.proc_root != old_common.proc_root),
        ("sys-root", common.sys_root != old_common.sys_root),
        ("docker-socket", common.sockets.docker != old_common.sockets.docker),
        ("podman-socket", common.sockets.podman != old_common.sockets.podman),
        ("cri-socket", common.sockets.cri != old_common.sockets.cri),
        ("labels", common.labels != old_common.labels),
        ("writable-layers", common.writable_layers != old_common.writable_layers),
        ("environment", common.environment != old_common.environment),
        ("namespace-sockets", common.namespace_sockets != old_common.namespace_sockets),
        ("slots", common.slots != old_common.slots),
        ("log-format", common.log_format != old_common.log_format),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}
