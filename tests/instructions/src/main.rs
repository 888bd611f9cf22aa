//! Pieces of work whose instructions `cargo xtask bench micro` counts with callgrind.
//!
//! `instructions` alone lists them; with a name it does that one, so that each has a process of
//! its own and none changes the memory that another finds. Only [`measured`] is counted.

mod outputs;
mod parsers;
mod samples;
mod tree;

use std::env;
use std::hint::black_box;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A piece of work, ready to be done.
type Work = Box<dyn FnMut()>;

/// The name of a piece of work, and what makes it ready.
type Case = (&'static str, fn() -> Result<Work>);

/// How often it is done before it counts: from then on nothing is learnt and no buffer grows.
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

/// What callgrind counts, with all that is called.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // What follows the call keeps it from becoming a jump, which callgrind would lose sight of.
    black_box(work);
}

/// The directory of the whole program's tests.
fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
