//! Bytes as operations on one pool: the model of the core's tests, fed by libFuzzer.
#![no_main]
#![allow(clippy::unwrap_used, reason = "a panic is the report")]

#[path = "../../crates/reqscope/tests/it/pool_model/mod.rs"]
mod model;
#[path = "../../crates/reqscope/tests/it/support.rs"]
#[allow(dead_code, reason = "the model needs a part of what the tests share")]
mod support;

/// libFuzzer has a watchdog of its own (`-timeout`), for each sequence, and runs for longer than the tests do.
mod watchdog {
    pub(crate) fn watch() {}
}

use std::panic;

use libfuzzer_sys::fuzz_target;

use model::{Start, Step, play};

fuzz_target!(
    init: let_meant_panics_pass(),
    |game: (Start, Vec<Step>)| play(game.0, game.1)
);

/// libFuzzer's hook ends the process at every panic, caught or not. Resources that panic belong to the game, and tokio
/// panics where a runtime's timers have ended, which the core answers with an error. All others are findings, those
/// of the core that a task would swallow too.
fn let_meant_panics_pass() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let meant = |file: &str| file.contains("reqscope-testkit/") || file.contains("/tokio-");
        if !info.location().is_some_and(|location| meant(location.file())) {
            abort(info);
        }
    }));
}
