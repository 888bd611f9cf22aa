//! Numbers of one name, packed.

use pco::{
    ChunkConfig,
    standalone::{simple_compress, simple_decompress_into},
};

use crate::bytes::{Input, put_number, unzigzag, zigzag};

/// How a column's numbers are packed.
const PLAIN: u8 = 0;
const PCO: u8 = 1;

/// Fewer numbers than this are not worth the tables of a compressor.
const PCO_MIN: usize = 32;

/// Packs numbers; no numbers are no bytes.
pub(crate) fn pack(values: &[u64]) -> Vec<u8> {
    if values.is_empty() {
        return Vec::new();
    }
    let packed = match values.len() >= PCO_MIN {
        true => simple_compress(values, &ChunkConfig::default()).ok(),
        false => None,
    };
    match packed {
        Some(packed) => [&[PCO], packed.as_slice()].concat(),
        None => plain(values),
    }
}

fn plain(values: &[u64]) -> Vec<u8> {
    let mut out = vec![PLAIN];
    let mut before = 0;
    for value in values {
        put_number(&mut out, zigzag(value.wrapping_sub(before)));
        before = *value;
    }
    out
}

/// Unpacks so many numbers; `None` if they are damaged.
pub(crate) fn unpack(bytes: &[u8], count: usize) -> Option<Vec<u64>> {
    let mut values = vec![0; count];
    let mut input = Input(bytes);
    match input.byte() {
        None if count == 0 => {}
        Some(PLAIN) => {
            let mut before = 0_u64;
            for value in &mut values {
                before = before.wrapping_add(unzigzag(input.number()?));
                *value = before;
            }
        }
        Some(PCO) => {
            let progress = simple_decompress_into(input.0, &mut values).ok()?;
            if progress.n_processed != count {
                return None;
            }
        }
        _ => return None,
    }
    Some(values)
}
