//! What a family of metrics is called, and whose it is.

use crate::{
    model::Ended,
    output::prometheus::{Frame, Own, Row, Samples},
};

/// One family of metrics: an entry in a table.
pub(super) struct Family {
    /// The name; that of a counter ends with `_total`.
    pub(super) name: &'static str,
    /// What it is, in one line.
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    /// What it is read from, and how its samples are written.
    pub(super) of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A count whose name, which is cAdvisor's, does not say so.
    Untyped,
}

/// Whom a family's samples are about. The function is called for each of them.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Container(fn(&Row, &mut Samples)),
    /// Of containers that share a network namespace, one only.
    Network(fn(&Row, &mut Samples)),
    Ended(fn(&Ended, &mut Samples)),
    Host(fn(&Frame, &mut Samples)),
    Own(fn(&Own, &mut Samples)),
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// A counter of containers.
pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    write: fn(&Row, &mut Samples),
) -> Family {
    Family { name, help, kind: Kind::Counter, of: Of::Container(write) }
}

/// A gauge of containers.
pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    write: fn(&Row, &mut Samples),
) -> Family {
    Family { name, help, kind: Kind::Gauge, of: Of::Container(write) }
}

/// A count of containers under a name that no counter may have.
pub(super) const fn untyped(
    name: &'static str,
    help: &'static str,
    write: fn(&Row, &mut Samples),
) -> Family {
    Family { name, help, kind: Kind::Untyped, of: Of::Container(write) }
}

/// A histogram of containers.
pub(super) const fn histogram(
    name: &'static str,
    help: &'static str,
    write: fn(&Row, &mut Samples),
) -> Family {
    Family { name, help, kind: Kind::Histogram, of: Of::Container(write) }
}

/// A gauge of anyone else.
pub(super) const fn gauge_of(name: &'static str, help: &'static str, of: Of) -> Family {
    Family { name, help, kind: Kind::Gauge, of }
}

/// A counter of anyone else.
pub(super) const fn counter_of(name: &'static str, help: &'static str, of: Of) -> Family {
    Family { name, help, kind: Kind::Counter, of }
}
