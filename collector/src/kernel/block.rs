//! Block I/O: the programs that count in the block table.

use std::collections::BTreeSet;

use anyhow::Context;
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap},
};
use nix::time::{ClockId, clock_gettime};
use tare_ebpf::{BlockCell, LatencyCell};

use crate::{
    kernel::{
        Kernel,
        error::{TRACING, reason},
        load::{self, Loaded},
        plan::{BlockPlan, Programs},
        table::{self, Cells, Table},
    },
    reason::Reason,
};

/// Requests made this much after all programs are attached are followed through the driver.
const SETTLE_NANOSECONDS: u64 = 10_000_000;

/// Programs that count block I/O, and their counters.
pub struct BlockPrograms {
    /// Counters by (id in the block controller's hierarchy, device).
    pub table: Table<BlockCell>,
    /// Latencies, by slot of `table`.
    pub latency: Cells<LatencyCell>,
    /// Whether the requests that the driver has are counted.
    pub in_flight: Result<(), Reason>,
    /// Whether merges are counted.
    pub merges: Result<(), Reason>,
    /// Bios of devices that make no requests of them: not attached before there is such a device.
    pub bios: Bios,
}

/// How far the bios of devices without requests are counted.
pub enum Bios {
    /// There has been no such device. These programs would count its bios, if there are any.
    NotNeeded(Programs),
    /// Those of these devices are counted.
    Counted(BTreeSet<u32>),
    /// They are not counted.
    Failed(Reason),
}

impl BlockPrograms {
    /// Opens the table and attaches what counts in it.
    pub(super) fn start(
        plan: &Result<BlockPlan, Reason>,
        loaded: &mut Loaded,
        btf: &Btf,
    ) -> Result<Self, Reason> {
        let plan = plan.as_ref()?;
        let failed = |error: anyhow::Error| reason(&error, TRACING);
        // Slots are handed out before the first program counts.
        let table = Table::open(loaded, &table::BLOCK).map_err(failed)?;
        let shards = loaded.latency_shards();
        let latency = Cells::open(loaded, table::LATENCIES, shards).map_err(failed)?;
        loaded.attach(&plan.requests, btf)?;
        let mut attach = |programs: &Programs| loaded.attach(programs.as_ref()?, btf);
        let (in_flight, merges) = (attach(&plan.in_flight), attach(&plan.merges));
        let in_flight = in_flight.and_then(|()| follow_requests(&mut loaded.ebpf).map_err(failed));
        Ok(Self { table, latency, in_flight, merges, bios: Bios::NotNeeded(plan.bios.clone()) })
    }
}

/// Sets the instant from which on no request's issue was missed.
fn follow_requests(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let map = ebpf.map_mut("FLIGHT_SINCE").context("the object has no map FLIGHT_SINCE")?;
    // The clock of `bpf_ktime_get_ns` and of the block layer's stamps.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    Array::<_, u64>::try_from(map)?.set(0, now + SETTLE_NANOSECONDS, 0)?;
    Ok(())
}

impl Kernel {
    /// Counts the bios of these devices, which make no requests of them. The first call with any
    /// attaches the programs. Devices stay counted.
    pub fn count_bios(&mut self, devices: impl IntoIterator<Item = u32>) {
        let (Some(ebpf), Ok(block)) = (&mut self.ebpf, &mut self.block) else { return };
        for device in devices {
            if let Bios::NotNeeded(programs) = &block.bios {
                block.bios = match attach_bios(ebpf, programs) {
                    Ok(()) => Bios::Counted(BTreeSet::new()),
                    Err(reason) => Bios::Failed(reason),
                };
            }
            if let Bios::Counted(counted) = &mut block.bios
                && counted.insert(device)
                && let Err(error) = add_device(ebpf, device)
            {
                block.bios = Bios::Failed(reason(&error, TRACING));
            }
        }
    }
}

fn attach_bios(ebpf: &mut Ebpf, programs: &Programs) -> Result<(), Reason> {
    let programs = programs.as_ref()?;
    let btf = Btf::from_sys_fs().map_err(anyhow::Error::from);
    btf.and_then(|btf| load::attach_tracepoints(ebpf, programs, &btf))
        .map_err(|error| reason(&error, TRACING))
}

fn add_device(ebpf: &mut Ebpf, device: u32) -> anyhow::Result<()> {
    let map = ebpf.map_mut("BIO_DEVICES").context("the object has no map BIO_DEVICES")?;
    HashMap::<_, u32, u32>::try_from(map)?.insert(device, 1, 0)?;
    Ok(())
}
