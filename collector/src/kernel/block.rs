//! What is counted of block I/O besides completed requests, each as far as this kernel has it.

use std::collections::BTreeSet;

use anyhow::Context;
use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap},
};
use nix::time::{ClockId, clock_gettime};

use crate::kernel::{
    Kernel, TRACING, load,
    plan::{Plan, Programs},
    reason,
};

/// Requests made this much after all programs are in place are followed through the driver.
const SETTLE_NANOSECONDS: u64 = 10_000_000;

/// The counts that have programs of their own.
pub struct Extras {
    /// Requests that the driver has, or why they are not counted.
    pub flight: Result<(), String>,
    /// Merges, or why they are not counted.
    pub merges: Result<(), String>,
    /// Bios of devices without requests: not attached before there is such a device.
    pub bios: Bios,
    plan: [Programs; 2],
}

/// How far the bios of devices without requests are counted.
pub enum Bios {
    /// There has been no such device, or its programs are not attached yet.
    Idle(Programs),
    /// Those of these devices are counted.
    Counted(BTreeSet<u32>),
    /// They cannot be counted; which devices there are is of no matter.
    Failed(String),
}

impl Extras {
    /// Nothing attached.
    pub(super) fn idle(plan: &Plan) -> Self {
        let none = |programs: &Programs| programs.as_ref().map(|_| ()).map_err(Clone::clone);
        Self {
            flight: none(&plan.flight),
            merges: none(&plan.merges),
            bios: Bios::Idle(plan.bios.clone()),
            plan: [plan.flight.clone(), plan.merges.clone()],
        }
    }

    /// Attaches what does not depend on devices.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, btf: &Btf) {
        let [flight, merges] = &self.plan;
        if let Ok(programs) = flight {
            let attached = load::attach_programs(ebpf, programs, btf);
            self.flight =
                attached.and_then(|()| follow(ebpf)).map_err(|error| reason(&error, TRACING));
        }
        if let Ok(programs) = merges {
            self.merges =
                load::attach_programs(ebpf, programs, btf).map_err(|error| reason(&error, TRACING));
        }
    }
}

/// Sets the instant from which on no request's issue was missed.
fn follow(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let map = ebpf.map_mut("FLIGHT_SINCE").context("the object has no map FLIGHT_SINCE")?;
    // The clock of `bpf_ktime_get_ns`, which the block layer's stamps are of too.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    Array::<_, u64>::try_from(map)?.set(0, now + SETTLE_NANOSECONDS, 0)?;
    Ok(())
}

impl Kernel {
    /// Counts the bios of these devices, which make no requests of them; at the first call with
    /// any, the programs are attached. Devices stay counted.
    pub fn count_bios(&mut self, devices: impl IntoIterator<Item = u32>) {
        let Some(ebpf) = self.ebpf.as_mut().filter(|_| self.block.is_some()) else { return };
        for device in devices {
            if let Bios::Idle(programs) = &self.extras.bios {
                self.extras.bios = match attach_bios(ebpf, programs) {
                    Ok(()) => Bios::Counted(BTreeSet::new()),
                    Err(why) => Bios::Failed(why),
                };
            }
            if let Bios::Counted(counted) = &mut self.extras.bios
                && counted.insert(device)
                && let Err(error) = add_device(ebpf, device)
            {
                self.extras.bios = Bios::Failed(reason(&error, TRACING));
            }
        }
    }
}

fn attach_bios(ebpf: &mut Ebpf, programs: &Programs) -> Result<(), String> {
    let programs = programs.as_ref().map_err(Clone::clone)?;
    let btf = Btf::from_sys_fs().map_err(|error| error.to_string())?;
    load::attach_programs(ebpf, programs, &btf).map_err(|error| reason(&error, TRACING))
}

fn add_device(ebpf: &mut Ebpf, device: u32) -> anyhow::Result<()> {
    let map = ebpf.map_mut("BIO_DEVICES").context("the object has no map BIO_DEVICES")?;
    HashMap::<_, u32, u32>::try_from(map)?.insert(device, 1, 0)?;
    Ok(())
}
