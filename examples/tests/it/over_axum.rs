//! The examples on axum.
use crate::process::{example, run};

#[cfg(unix)]
#[test]
fn axum_sqlite_commits_under_a_success_only() {
    let server = crate::process::Server::start(example("axum_sqlite").arg("0"));
    let status = |request: &str, body: &str| server.ask(request, body)["HTTP/1.1 ".len()..][..3].to_owned();
    // The edit is counted before the note is found missing.
    assert_eq!(status("PUT /notes/1", "buy bread"), "404");
    assert!(server.ask("POST /notes", "buy milk").ends_with("\r\n\r\n1"));
    let notes = server.ask("GET /notes", "");
    assert!(notes.ends_with(r#"[{"id":1,"text":"buy milk","edits":0}]"#), "{notes}");
    assert_eq!(status("PUT /notes/1", "buy bread"), "204");
    let notes = server.ask("GET /notes", "");
    assert!(notes.ends_with(r#"[{"id":1,"text":"buy bread","edits":1}]"#), "{notes}");
    assert_eq!(status("DELETE /notes/1", ""), "204");
    assert_eq!(status("DELETE /notes/1", ""), "404");
    assert!(server.ask("GET /notes", "").ends_with("\r\n\r\n[]"));
    let (status, text) = server.interrupt();
    assert!(
        status.success() && text.contains("abandoned: 0, open_scopes: 0, acquiring: 0, tasks: 0, live: 0"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn shop_shuts_down_on_sigterm() {
    let server = crate::process::Server::start(example("shop").arg("0"));
    assert!(server.ask("GET /health/ready", "").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(server.ask("GET /orders", "").starts_with("HTTP/1.1 401 "));
    let (status, output) = server.stop("-TERM");
    assert!(
        status.success() && output.contains("abandoned: 0, open_scopes: 0, acquiring: 0, tasks: 0, live: 0"),
        "{output}"
    );
}

#[test]
fn streaming_releases_its_connection_at_the_end_and_on_hang_up() {
    let output = run(&mut example("streaming"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let states = text.lines().filter_map(|line| line.split_once(": ")).map(|(_, state)| state);
    let (lent, returned) = ("1 in use, 0 idle, 0 open scopes", "0 in use, 1 idle, 0 open scopes");
    assert_eq!(states.take(4).collect::<Vec<_>>(), [lent, returned, lent, returned], "{text}");
}

#[cfg(feature = "websocket")]
#[test]
fn websocket_commits_each_message_whole_or_not_at_all() {
    let output = run(&mut example("websocket"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let answers: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(answers, [r#""one\ntwo": 2 lines"#, r#""three\n\nfour": not kept"#, r#""five": 3 lines"#], "{text}");
    assert!(text.contains("is idle: 0 database connections in use\n"), "{text}");
    assert!(text.contains("shuts down: Some(Close(None))\n"), "{text}");
    assert!(text.contains("abandoned: 0, open_scopes: 0, acquiring: 0, tasks: 0, live: 0"), "{text}");
}
