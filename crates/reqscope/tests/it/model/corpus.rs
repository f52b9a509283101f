use std::fs;

use arbitrary::{Arbitrary, Unstructured};

use super::{Step, play};

/// Sequences kept by the fuzzer, which together cover every branch of the core that it has reached. The folder is
/// outside of the published package.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/scope");

#[test]
fn corpus_plays_without_a_failure() {
    let files: Vec<_> = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 50, "{} files in {FOLDER}: most of the corpus is missing", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        // The same decoding as the fuzzer's.
        let steps = Vec::<Step>::arbitrary_take_rest(Unstructured::new(&bytes)).unwrap();
        let message = format!("{}: {steps:?}", file.display());
        assert!(std::panic::catch_unwind(|| play(steps)).is_ok(), "{message}");
    }
}
