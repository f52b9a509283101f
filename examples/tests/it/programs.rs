//! The small examples.
use crate::process::{Server, example, run};

#[test]
fn own_resource_shows_both_endings() {
    let output = run(&mut example("own_resource"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(said.contains("while it runs: 1 file\n  afterwards: 0 files"), "{said}");
    assert!(said.contains("afterwards: 1 file\nthe first half\nthe second half"), "{said}");
}

#[test]
fn cpu_loop_ends_when_its_client_has_gone() {
    // Without the question in the loop it would not end, and the deadline of `run` would fail this test.
    let output = run(&mut example("cpu_loop"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let line = |what: &str| said.lines().position(|line| line.contains(what));
    assert!(line("the loop ends").is_some());
    assert!(line("the loop ends") < line("the server shuts down"), "{said}");
}

#[test]
fn outage_keeps_its_promises() {
    let output = run(&mut example("outage"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("✓ ")).count(), 7, "{said}");
    // The cause of the outage is told, not only its fact.
    assert!(said.contains("the backend is unavailable while acquiring"), "{said}");
}

#[cfg(unix)]
#[test]
fn quickstart_counts_its_visitors_until_ctrl_c() {
    let server = Server::start(example("quickstart").arg("0"));
    assert!(server.ask("GET /hello", "").ends_with("\r\n\r\nvisit number 1\n"));
    assert!(server.ask("GET /hello", "").ends_with("\r\n\r\nvisit number 2\n"));
    assert!(server.ask("GET /other", "").ends_with("\r\n\r\nvisit number 1\n"));
    let (status, said) = server.interrupt();
    assert!(status.success(), "{said}");
}
