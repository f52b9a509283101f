//! The example with tonic.
use crate::process::{example, run};

#[test]
fn grpc_keeps_all_lines_of_a_call_or_none() {
    let output = run(&mut example("grpc"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let calls = "append [\"one\", \"two\"]: 2 lines\n\
                 append [\"three\", \"\"]: a line is empty\n\
                 append [\"four\"]: 3 lines\n\
                 read: [\"one\", \"two\", \"four\"]\n";
    assert!(said.starts_with(calls), "{said}");
    assert!(said.contains("abandoned: 0, open_scopes: 0, acquiring: 0, live: 0"), "{said}");
    assert!(said.ends_with("; 0 connections of the database in use\n"), "{said}");
}
