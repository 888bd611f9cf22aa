//! What the caller decides.

use std::path::PathBuf;

use crate::{
    kernel::{ended::EndedHierarchies, facts::SocketIds, plan::SocketLevel},
    reason::Reason,
};

/// What the kernel side has to know of the user's choices and of the host.
#[derive(Clone, Debug)]
pub struct Options {
    /// Why nothing is to be loaded, if so.
    pub off: Option<Reason>,
    /// Where `sysfs` is mounted.
    pub sys_root: PathBuf,
    /// Where the root of cgroup2 is mounted, if it is.
    pub unified: Option<PathBuf>,
    /// The hierarchy that separates containers at their sockets, if any.
    pub socket_ids: Option<SocketIds>,
    /// The level to count sockets at, if this kernel can; `None` takes the best that it can.
    pub socket_level: Option<SocketLevel>,
    /// Slots of each table, the overflow's included.
    pub slots: u32,
    /// Id of the hierarchy whose ids count sockets, and whose events are reported.
    pub watched_net: Option<u32>,
    /// The same for block requests.
    pub watched_block: Option<u32>,
    /// Why tasks are not to be counted, if so.
    pub tasks_off: Option<Reason>,
    /// The hierarchies whose removed cgroups report what they had used.
    pub ended: EndedHierarchies,
}
