use std::process::Command;
use std::thread;

use reqscope_testkit::{expect_panic, quiet_panic};

/// Set where `panics_to_look_at` runs in a process of its own.
const LOOKED_AT: &str = "REQSCOPE_TESTKIT_PANICS";

#[test]
fn expected_panics_are_silent_and_all_others_are_printed() {
    let exe = std::env::current_exe().unwrap();
    let arguments = ["panics::panics_to_look_at", "--exact", "--nocapture", "--test-threads=1"];
    let output = Command::new(exe).args(arguments).env(LOOKED_AT, "1").output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("on purpose"), "{printed}");
    for unexpected in ["in another thread", "the second", "afterwards"] {
        assert!(printed.contains(unexpected), "{unexpected:?} is not in {printed}");
    }
}

/// Does nothing but in the process that the test above starts.
#[test]
fn panics_to_look_at() {
    if std::env::var_os(LOOKED_AT).is_none() {
        return;
    }
    assert!(thread::spawn(|| quiet_panic("a scripted panic, on purpose")).join().is_err());
    let message = expect_panic(|| {
        assert!(thread::spawn(|| panic!("in another thread")).join().is_err());
        panic!("a panic of the code, on purpose")
    });
    assert_eq!(message, "a panic of the code, on purpose");
    let twice = || {
        let first = expect_panic(|| panic!("an inner panic, on purpose"));
        panic!("{first}, and once more")
    };
    assert_eq!(expect_panic(twice), "an inner panic, on purpose, and once more");
    expect_panic(|| {
        assert!(std::panic::catch_unwind(|| panic!("the first, on purpose")).is_err());
        panic!("the second");
    });
    assert!(thread::spawn(|| panic!("afterwards")).join().is_err());
}

#[test]
fn expect_panic_fails_where_the_code_returns() {
    let message = expect_panic(|| expect_panic(|| 7));
    assert_eq!(message, "the code returned, where it had to panic");
}

#[test]
fn expect_panic_works_while_the_thread_unwinds() {
    struct Nested;
    impl Drop for Nested {
        fn drop(&mut self) {
            assert_eq!(expect_panic(|| quiet_panic("in a destructor")), "in a destructor");
        }
    }
    let message = expect_panic(|| {
        let _nested = Nested;
        quiet_panic("the code")
    });
    assert_eq!(message, "the code");
}
