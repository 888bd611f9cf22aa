//! `SocketPrograms` and TCP: the programs that count in the network table.

use std::path::Path;

use aya::Btf;
use tare_ebpf::NetCell;

use crate::{
    kernel::{
        error::{PACKETS, TRACING, reason},
        load::Loaded,
        plan::{NetworkPlan, Programs, SocketLevel, SocketPlan},
        table::{self, Table},
        tracepoints::PAYLOAD,
    },
    reason::Reason,
};

/// The network table and what counts in it.
pub(super) struct Network {
    pub(super) table: Option<Table<NetCell>>,
    pub(super) sockets: Result<SocketPrograms, Reason>,
    pub(super) retransmits: Result<(), Reason>,
    pub(super) connections: Result<(), Reason>,
}

/// Programs that count sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPrograms {
    /// What they count.
    pub level: SocketLevel,
    /// Why not the better or the wanted level.
    pub second_best: Option<Reason>,
}

impl Network {
    /// Opens the table and attaches what counts in it.
    pub(super) fn start(
        plan: &NetworkPlan,
        loaded: &mut Loaded,
        btf: &Btf,
        unified: Option<&Path>,
    ) -> Self {
        // Slots are handed out before the first program counts.
        let table = (!plan.is_nothing()).then(|| Table::open(loaded, &table::NET)).transpose();
        let table = match table {
            Ok(table) => table,
            Err(error) => return Self::failed(&reason(&error, TRACING)),
        };
        let sockets = attach_sockets(plan, loaded, btf, unified);
        let mut attach = |programs: &Programs| loaded.attach(programs.as_ref()?, btf);
        let retransmits = attach(&plan.retransmits);
        let connections = attach(&plan.connections);
        let is_used = sockets.is_ok() || retransmits.is_ok() || connections.is_ok();
        Self { table: table.filter(|_| is_used), sockets, retransmits, connections }
    }

    fn failed(reason: &Reason) -> Self {
        Self {
            table: None,
            sockets: Err(reason.clone()),
            retransmits: Err(reason.clone()),
            connections: Err(reason.clone()),
        }
    }
}

/// Attaches the planned level, or the other one if the kernel refuses it.
fn attach_sockets(
    plan: &NetworkPlan,
    loaded: &mut Loaded,
    btf: &Btf,
    unified: Option<&Path>,
) -> Result<SocketPrograms, Reason> {
    let SocketPlan { level, fallback, second_best } = plan.sockets.clone()?;
    let mut attach = |level| match level {
        SocketLevel::Payload => loaded.attach(&PAYLOAD, btf),
        SocketLevel::L3 => loaded.attach_packets(unified).map_err(|error| reason(&error, PACKETS)),
    };
    let Err(refusal) = attach(level) else { return Ok(SocketPrograms { level, second_best }) };
    match fallback {
        Some(level) if attach(level).is_ok() => {
            Ok(SocketPrograms { level, second_best: second_best.or(Some(refusal)) })
        }
        _ => Err(refusal),
    }
}
