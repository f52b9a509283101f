use std::sync::Once;
use std::time::Duration;

/// A lost wake-up hangs a test for ever. All of them together take seconds, so after minutes that is a failure; the
/// test harness has said by then which one still runs.
pub(crate) fn watch() {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(300));
            eprintln!("a test hangs: somebody was not woken");
            std::process::exit(1);
        });
    });
}
