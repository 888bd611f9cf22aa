//! From what a runtime told to the contract.

use tare_model::WritableLayer;

use crate::identity;

/// What a container has written.
pub fn report(layer: &identity::WritableLayer) -> WritableLayer {
    let identity::WritableLayer { read_at, used_bytes, inodes_used } = *layer;
    WritableLayer { read_at, used_bytes, inodes_used }
}
