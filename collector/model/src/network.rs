//! Network devices and namespaces.

pub use tare_parsers::net_dev::InterfaceCounters as Interface;

/// A network namespace, identified by the inode number of `/proc/PID/ns/net`.
///
/// The kernel reuses the number only after the namespace is gone. A namespace stays while its
/// `/proc/PID/net/dev` is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u64);
