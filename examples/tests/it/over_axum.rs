//! The examples with axum.
use crate::process::{example, run};

#[cfg(unix)]
#[test]
fn axum_sqlite_keeps_what_it_has_answered_with_a_success_and_nothing_else() {
    let server = crate::process::Server::start(example("axum_sqlite").arg("0"));
    let status = |request: &str, body: &str| server.ask(request, body)["HTTP/1.1 ".len()..][..3].to_owned();
    // The edit was counted before the note was found missing.
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
    let (status, said) = server.interrupt();
    assert!(status.success() && said.contains("abandoned: 0, open_scopes: 0, acquiring: 0, live: 0"), "{said}");
}

#[test]
fn streaming_gives_its_connection_back_at_the_end_and_on_hang_up() {
    let output = run(&mut example("streaming"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let states = said.lines().filter_map(|line| line.split_once(": ")).map(|(_, state)| state);
    let (out, back) = ("1 in use, 0 idle, 0 open scopes", "0 in use, 1 idle, 0 open scopes");
    assert_eq!(states.take(4).collect::<Vec<_>>(), [out, back, out, back], "{said}");
}

#[cfg(feature = "websocket")]
#[test]
fn websocket_keeps_each_message_whole_or_not_at_all() {
    let output = run(&mut example("websocket"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let answers: Vec<&str> = said.lines().take(3).collect();
    assert_eq!(answers, [r#""one\ntwo": 2 lines"#, r#""three\n\nfour": not kept"#, r#""five": 3 lines"#], "{said}");
    assert!(said.contains("says nothing: 0 connections of the database in use\n"), "{said}");
    assert!(said.contains("shuts down: Some(Close(None))\n"), "{said}");
    assert!(said.contains("abandoned: 0, open_scopes: 0, acquiring: 0, live: 0"), "{said}");
}
