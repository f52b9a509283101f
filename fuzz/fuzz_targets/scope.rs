//! Operations on one scope from libFuzzer's bytes, with the model of the core's tests.
#![no_main]
#![allow(clippy::unwrap_used, reason = "a panic is the report")]

#[path = "../../crates/reqscope/tests/it/model/mod.rs"]
mod model;
#[path = "../../crates/reqscope/tests/it/support.rs"]
#[allow(dead_code, reason = "the model needs a part of what the tests share")]
mod support;

/// Replaces the watchdog of the tests: libFuzzer has one of its own for each sequence (`-timeout`), and runs for
/// longer.
mod watchdog {
    pub(crate) fn watch() {}
}

use std::panic;

use libfuzzer_sys::fuzz_target;

use model::{Step, play};

fuzz_target!(
    init: ignore_expected_panics(),
    |steps: Vec<Step>| play(steps)
);

/// Installs a panic hook that ignores expected panics.
///
/// libFuzzer's hook ends the process at every panic, caught or not. tokio panics if the timers of a runtime have ended,
/// which the core turns into an error. All other panics are findings, even those of the core that a task would swallow.
/// The resources of the model, which panic on purpose, run no hook.
fn ignore_expected_panics() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| location.file().contains("/tokio-")) {
            abort(info);
        }
    }));
}
