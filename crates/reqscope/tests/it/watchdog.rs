//! Ends the test process when a test hangs, and keeps expected panics of tokio from being printed.

use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the process may go without the start of another test. All tests together take seconds.
const LIMIT: Duration = Duration::from_secs(300);

static STARTED: AtomicU64 = AtomicU64::new(0);

/// Starts the watchdog, and reports progress to it.
///
/// A lost wake-up would hang a test forever. By the time the watchdog exits, the test harness has printed which test
/// still runs.
pub(crate) fn watch() {
    static WATCHDOG: Once = Once::new();
    STARTED.fetch_add(1, Ordering::Relaxed);
    WATCHDOG.call_once(|| {
        silence_timers();
        std::thread::spawn(|| {
            let mut seen = 0;
            loop {
                let started = STARTED.load(Ordering::Relaxed);
                if started == seen {
                    eprintln!("a test hangs: a waiter was not woken, or a lock is held");
                    std::process::exit(1);
                }
                seen = started;
                std::thread::sleep(LIMIT);
            }
        });
    });
}

/// Keeps the panic hook from printing tokio's panics where a runtime has no timers or has ended. The core catches them
/// and returns an error.
fn silence_timers() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // The second one is the core's call of `#[track_caller]` functions of tokio.
        let of_timers =
            |file: &str| file.contains("/tokio-") && file.contains("/time/") || file.ends_with("rt/time.rs");
        if !info.location().is_some_and(|location| of_timers(location.file())) {
            print(info);
        }
    }));
}
