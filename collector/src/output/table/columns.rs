//! What stands in each column.

use crate::model::Container;
use crate::output::text::{cut, printable};
use crate::output::units::{bytes_size, human_size, percent};

/// Explains the mark behind NET I/O.
pub(super) const HOST_SOCKETS: &str =
    "* on the host's network: bytes at its own sockets, not those of the host's devices";

/// What stands where nothing is known.
pub(crate) const UNKNOWN: &str = "--";

/// How many characters of an id are shown.
pub(crate) const SHORT_ID: usize = 12;

/// The first columns, which tell who a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Containers,
    Services,
    Cgroups,
}

impl Layout {
    pub(super) fn titles(self) -> Vec<String> {
        let who: &[&str] = match self {
            Self::Containers => &["CONTAINER ID", "NAME"],
            Self::Services => &["SERVICE"],
            Self::Cgroups => &["CGROUP"],
        };
        let numbers = ["CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
        who.iter().chain(&numbers).map(|&title| title.to_owned()).collect()
    }

    /// What people call the row, and sort it by.
    pub(super) fn name(self, row: &Container) -> &str {
        match self {
            Self::Containers => row.name.as_deref().unwrap_or(&row.id),
            Self::Services => &row.id,
            Self::Cgroups => &row.cgroup,
        }
    }

    /// A row's cells. `repeated` says that another row has the same id.
    pub(super) fn cells(self, row: &Container, no_trunc: bool, repeated: bool) -> Vec<String> {
        let mut cells = match self {
            Self::Containers => who(row, no_trunc).to_vec(),
            Self::Services if repeated => vec![printable(&row.cgroup).into_owned()],
            _ => vec![printable(self.name(row)).into_owned()],
        };
        cells.extend(numbers(row));
        cells
    }
}

/// A container's id and name.
pub(crate) fn who(row: &Container, no_trunc: bool) -> [String; 2] {
    let is_long = row.id.len() == 64 && !no_trunc;
    let id = cut(&row.id, if is_long { SHORT_ID } else { usize::MAX });
    // Where ids are not numbers, people gave them.
    let own_name = (row.id.len() != 64).then_some(row.id.as_str());
    let name = row.name.as_deref().or(own_name).unwrap_or(UNKNOWN);
    [printable(id).into_owned(), printable(name).into_owned()]
}

/// NET I/O, marked where it is what the container's own sockets carried.
pub(crate) fn network(row: &Container) -> String {
    let (received, sent, own_sockets) = traffic(row);
    pair(received, sent) + if own_sockets { "*" } else { "" }
}

/// Bytes received and sent as NET I/O shows them, and whether they are those of the container's
/// own sockets: on the host's network the devices count everybody's.
pub(crate) fn traffic(row: &Container) -> (Option<u64>, Option<u64>, bool) {
    if row.network.host_namespace == Some(true) {
        return match &row.network.sockets {
            Some(sockets) => (Some(sockets.rx_bytes), Some(sockets.tx_bytes), true),
            None => (None, None, false),
        };
    }
    let Some(interfaces) = &row.network.interfaces else {
        return (None, None, false);
    };
    let add = |total: u64, bytes: u64| total.saturating_add(bytes);
    let received = interfaces.values().map(|device| device.rx_bytes).fold(0, add);
    let sent = interfaces.values().map(|device| device.tx_bytes).fold(0, add);
    (Some(received), Some(sent), false)
}

fn numbers(row: &Container) -> [String; 6] {
    let memory = &row.memory;
    [
        known(row.cpu.percent, percent),
        format!(
            "{} / {}",
            known(memory.working_set_bytes, bytes_size),
            known(memory.limit_bytes, bytes_size)
        ),
        known(memory.percent, percent),
        network(row),
        pair(row.block.total.read_bytes, row.block.total.write_bytes),
        known(row.pids.current, |count| count.to_string()),
    ]
}

/// A value, or `--`.
pub(crate) fn known<T>(value: Option<T>, format: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), format)
}

/// Two amounts, as I/O columns show them.
pub(crate) fn pair(first: Option<u64>, second: Option<u64>) -> String {
    match (first, second) {
        (None, None) => UNKNOWN.to_owned(),
        _ => format!("{} / {}", known(first, human_size), known(second, human_size)),
    }
}
