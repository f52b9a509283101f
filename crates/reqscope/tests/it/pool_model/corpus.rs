use std::fs;

use arbitrary::{Arbitrary, Unstructured};

use super::{Start, Step, play};

/// What the fuzzer found worth keeping: sequences that between them take every way through the pool that it knows.
/// It lies beside the fuzzer, outside of the published package.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/pool");

#[test]
fn corpus_plays_without_a_failure() {
    let files: Vec<_> = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 50, "{} files in {FOLDER}: most of the corpus is not there", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        // As the fuzzer reads them.
        let (start, steps) = <(Start, Vec<Step>)>::arbitrary_take_rest(Unstructured::new(&bytes)).unwrap();
        let told = format!("{}: {start:?}, {steps:?}", file.display());
        assert!(std::panic::catch_unwind(|| play(start, steps)).is_ok(), "{told}");
    }
}
