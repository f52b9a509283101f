//! Panics that a test causes on purpose: none of them is printed, all others are.
//!
//! Most come from [`quiet_panic`], which never runs the panic hook. Panics of the code under test do run it, and
//! [`expect_panic`] keeps the hook from printing the one that it waits for: by a flag of the thread, so that panics in
//! tests that run at the same time are printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;
use std::thread;

/// Panics with `message`, without running the panic hook: nothing is printed.
///
/// Use it for panics that a test expects, in a handler, a body, a hook or a resource. Such a test passes without
/// printing messages and backtraces. [`Outcome::panic`](crate::Outcome::panic) panics in this way. The payload is the
/// message, as a `String`.
///
/// A test that fails because of such a panic prints no message either.
///
/// ```
/// use reqscope_testkit::quiet_panic;
/// use std::panic::catch_unwind;
///
/// let payload = catch_unwind(|| quiet_panic("in the handler")).unwrap_err();
/// assert_eq!(*payload.downcast::<String>().unwrap(), "in the handler");
/// ```
///
/// # Panics
///
/// Always.
pub fn quiet_panic(message: impl Into<String>) -> ! {
    resume_unwind(Box::new(message.into()))
}

/// Runs code that must panic, and returns the panic's message.
///
/// The panic is not printed. A second panic, for example in a destructor, is printed, and so are panics of other
/// threads.
///
/// Use this instead of `#[should_panic]`, which prints the panic, and of `catch_unwind` where the message matters. On
/// first use it installs a panic hook, which calls the previous hook for all other panics.
///
/// ```
/// use reqscope_testkit::expect_panic;
///
/// let message = expect_panic(|| "12a".parse::<u32>().expect("a number"));
/// assert!(message.starts_with("a number: "));
/// ```
///
/// # Panics
///
/// If the code returns.
#[track_caller]
pub fn expect_panic<T>(code: impl FnOnce() -> T) -> String {
    let payload = catch_quietly(code).err();
    message(&*payload.expect("the code returned, where it had to panic")).to_owned()
}

/// Runs code that may panic. The panic is not printed.
pub(crate) fn catch_quietly<T>(code: impl FnOnce() -> T) -> thread::Result<T> {
    install_hook();
    let _expecting = Expecting::new();
    catch_unwind(AssertUnwindSafe(code))
}

/// Returns the message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a payload that is no text")
}

thread_local! {
    /// Whether this thread's next panic is expected.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread's next panic as expected, until it is dropped.
struct Expecting {
    before: bool,
}

impl Expecting {
    fn new() -> Self {
        Expecting { before: EXPECTED.replace(true) }
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        EXPECTED.set(self.before);
    }
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    // A thread that unwinds may not change the hook. Without it the panic is printed, which is no reason to fail.
    if thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Taken, so that only the first panic is silent: a second one is not the one that was expected.
            let expected = EXPECTED.try_with(Cell::take).unwrap_or(false);
            if !expected {
                print(info);
            }
        }));
    });
}
