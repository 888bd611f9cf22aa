//! Pieces of work whose instructions `cargo xtask bench micro` counts with callgrind.
//!
//! Without arguments, the program lists them; with a name it does that one. Each runs in its own
//! process, so none changes the memory layout of another. Only [`measured`] is counted.

mod outputs;
mod parsers;
mod samples;
mod tree;

use std::{env, hint::black_box, path::PathBuf};

use anyhow::{Context as _, Result};

/// A prepared piece of work.
type Work = Box<dyn FnMut()>;

/// The name of a piece of work, and the function that prepares it.
type Case = (&'static str, fn() -> Result<Work>);

/// Runs before the one that counts; after these, caches are filled and buffers do not grow.
const WARM_UPS: usize = 3;

fn main() -> Result<()> {
    let cases = [parsers::CASES, samples::CASES, outputs::CASES].concat();
    let Some(wanted) = env::args().nth(1).filter(|word| !word.starts_with('-')) else {
        for (name, _) in cases {
            println!("{name}");
        }
        return Ok(());
    };
    let case = cases.into_iter().find(|(name, _)| *name == wanted);
    let (_, prepare) = case.with_context(|| format!("there is no case {wanted}"))?;
    let mut work = prepare()?;
    for _ in 0..WARM_UPS {
        work();
    }
    measured(&mut *work);
    Ok(())
}

/// Callgrind counts this function with all that it calls.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // Prevents a tail call, which callgrind would not attribute to this function.
    black_box(work);
}

/// The directory `tests` of the workspace.
fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
