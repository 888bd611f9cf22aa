//! What the kernel side does, as plain data.

use tare_ebpf::{BlockCell, Cell};

use crate::{
    kernel::{Kernel, SocketPrograms, block::Bios, table::Table},
    reason::Reason,
};

/// What each family's programs do now, or why there are none.
#[derive(Clone, Debug)]
pub struct KernelStatus<'a> {
    /// Bytes or packets of sockets.
    pub sockets: Result<&'a SocketPrograms, &'a Reason>,
    /// Whether some of that is not counted by cgroup.
    pub network_overflow: Option<Reason>,
    /// TCP segments that are sent again.
    pub retransmits: Result<(), &'a Reason>,
    /// TCP connections.
    pub connections: Result<(), &'a Reason>,
    /// Block I/O.
    pub block: Result<BlockStatus<'a>, &'a Reason>,
    /// Events of cgroups.
    pub lifecycle: Result<LifecycleStatus<'a>, &'a Reason>,
    /// Tasks: what is missing of them, such as those that are not counted by cgroup.
    pub tasks: Result<Vec<Reason>, &'a Reason>,
}

/// What the programs for block I/O do besides counting completed requests.
#[derive(Clone, Debug)]
pub struct BlockStatus<'a> {
    /// Whether some requests are not counted by cgroup.
    pub overflow: Option<Reason>,
    /// Requests that the driver has.
    pub in_flight: Result<(), &'a Reason>,
    /// Merges.
    pub merges: Result<(), &'a Reason>,
    /// Bios of devices without requests: whether they are counted, as they are if there is any
    /// such device.
    pub bios: Result<bool, &'a Reason>,
}

/// What the events of cgroups lack.
#[derive(Clone, Debug)]
pub struct LifecycleStatus<'a> {
    /// How many found no room in the ring.
    pub lost: u64,
    /// Why some kinds of events are missing.
    pub missing: &'a [Reason],
    /// Why what removed cgroups had used is not reported, or not all of it.
    pub ended: Result<(), &'a Reason>,
}

impl Kernel {
    /// What each family's programs do now. No system call is made.
    pub fn status(&self) -> KernelStatus<'_> {
        KernelStatus {
            sockets: self.sockets.as_ref(),
            network_overflow: self.net.as_ref().and_then(|table| {
                overflow(table).map(|_| Reason::SlotsFull { slots: table.capacity() })
            }),
            retransmits: self.retransmits.as_ref().copied(),
            connections: self.connections.as_ref().copied(),
            block: self.block.as_ref().map(|block| BlockStatus {
                overflow: block_overflow(&block.table),
                in_flight: block.in_flight.as_ref().copied(),
                merges: block.merges.as_ref().copied(),
                bios: match &block.bios {
                    Bios::NotNeeded(_) => Ok(false),
                    Bios::Counted(_) => Ok(true),
                    Bios::Failed(reason) => Err(reason),
                },
            }),
            lifecycle: self.lifecycle.as_ref().map(|events| LifecycleStatus {
                lost: events.lost(),
                missing: events.missing(),
                ended: events.ended(),
            }),
            tasks: self.tasks.as_ref().map(|tasks| {
                let slots = tasks.gone.capacity();
                let overflow = tasks.overflows().then_some(Reason::SlotsFull { slots });
                overflow.into_iter().chain(tasks.open_files.as_ref().err().cloned()).collect()
            }),
        }
    }
}

/// What the overflow slot counted, if it counted anything.
fn overflow<C: Cell>(table: &Table<C>) -> Option<C> {
    let cell = table.overflow();
    cell.words().iter().any(|count| *count != 0).then_some(cell)
}

fn block_overflow(table: &Table<BlockCell>) -> Option<Reason> {
    let BlockCell { read, write, .. } = overflow(table)?;
    let slots = table.capacity();
    Some(Reason::BlockSlotsFull { slots, read_bytes: read.bytes, write_bytes: write.bytes })
}
