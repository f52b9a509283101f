//! The examples that need neither axum nor a database server.
use crate::process::{Server, example, run};

#[test]
fn own_resource_keeps_the_file_of_a_success_only() {
    let output = run(&mut example("own_resource"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("while it runs: 1 file\n  afterwards: 0 files"), "{text}");
    assert!(text.contains("afterwards: 1 file\nthe first half\nthe second half"), "{text}");
}

#[test]
fn cpu_loop_ends_when_its_client_has_gone() {
    // Without the check in the loop it would not end, and the deadline of `run` would fail this test.
    let output = run(&mut example("cpu_loop"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let line = |what: &str| text.lines().position(|line| line.contains(what));
    assert!(line("the loop ends").is_some());
    assert!(line("the loop ends") < line("the server shuts down"), "{text}");
}

#[test]
fn outage_keeps_its_promises() {
    let output = run(&mut example("outage"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("✓ ")).count(), 7, "{text}");
    // The refusal names the cause, too.
    assert!(text.contains("the backend is unavailable while acquiring"), "{text}");
}

#[cfg(unix)]
#[test]
fn quickstart_counts_visitors_until_ctrl_c() {
    let server = Server::start(example("quickstart").arg("0"));
    assert!(server.ask("GET /hello", "").ends_with("\r\n\r\nvisit number 1\n"));
    assert!(server.ask("GET /hello", "").ends_with("\r\n\r\nvisit number 2\n"));
    assert!(server.ask("GET /other", "").ends_with("\r\n\r\nvisit number 1\n"));
    let (status, text) = server.interrupt();
    assert!(status.success(), "{text}");
}
