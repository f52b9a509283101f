//! Every ending, on every stack and over every protocol where it exists.

use std::sync::Once;

use reqscope_endings::{ALL, Protocol, Stack, Verdict, each_ending, play, quiet};

macro_rules! tests {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            is_as_declared(stringify!($name));
        }
    )*};
}

each_ending!(tests);

fn is_as_declared(file: &str) {
    static QUIET: Once = Once::new();
    QUIET.call_once(quiet);
    let ending =
        ALL.iter().find(|ending| ending.name == file.replace('_', "-")).expect("its name is that of its file");
    let mut wrong = Vec::new();
    for stack in [Stack::Hyper, Stack::Axum] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            if let Verdict::Wrong(why) = play(ending, stack, protocol).verdict {
                wrong.push(format!("{stack:?} over {protocol:?}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", ending.sentence, wrong.join("\n"));
}
