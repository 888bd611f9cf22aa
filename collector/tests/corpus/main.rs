//! Every file of every corpus goes through its parser, whole, cut and bent: nothing may panic.
//!
//! The corpora are real files of kernels from 5.10 to 7.2, and what fuzzing found. The same parsers
//! are fuzzed by `cargo xtask fuzz`.

#![allow(clippy::unwrap_used)]

mod parsers;

use std::{fs, path::PathBuf};

use parsers::{PARSERS, parser};

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus")
}

#[test]
fn every_parser_takes_its_corpus() {
    for (name, parser) in PARSERS {
        let mut files = 0;
        for entry in fs::read_dir(corpora().join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
            let text = fs::read(entry.unwrap().path()).unwrap();
            parser(&text);
            bend(*parser, &text);
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}

/// Cuts the text at every place, and turns every byte into what might hurt there.
fn bend(parser: fn(&[u8]), text: &[u8]) {
    let text = &text[..text.len().min(2048)];
    for end in 0..text.len() {
        parser(&text[..end]);
    }
    let mut bent = text.to_vec();
    for at in 0..bent.len() {
        let byte = bent[at];
        for other in [0, b' ', b'\n', b'-', b':', b'9', 0xff] {
            bent[at] = other;
            parser(&bent);
        }
        bent[at] = byte;
    }
}

#[test]
fn every_corpus_has_a_parser_and_a_target() {
    let manifest = fs::read_to_string(corpora().join("../fuzz/Cargo.toml")).unwrap();
    for entry in fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(parser(&name).is_some(), "{name} has no parser");
    }
    for (name, _) in PARSERS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not fuzzed");
    }
}
