//! From readings of the state to the contract.

use tare_model::Tree;
use tare_parsers::state::CgroupState;

use crate::families::settings::Settings;

/// The cgroup as a part of its tree.
pub fn report(state: CgroupState, settings: &Settings) -> Tree {
    Tree {
        populated: state.populated,
        frozen: state.frozen,
        descendants: settings.descendants,
        dying_descendants: settings.dying_descendants,
    }
}
