//! The example on tonic.
use crate::process::{example, run};

#[test]
fn grpc_commits_all_lines_of_a_call_or_none() {
    let output = run(&mut example("grpc"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let calls = "append [\"one\", \"two\"]: 2 lines\n\
                 append [\"three\", \"\"]: a line is empty\n\
                 append [\"four\"]: 3 lines\n\
                 read: [\"one\", \"two\", \"four\"]\n";
    assert!(text.starts_with(calls), "{text}");
    assert!(text.contains("abandoned: 0, open_scopes: 0, acquiring: 0, tasks: 0, live: 0"), "{text}");
    assert!(text.ends_with("; 0 database connections in use\n"), "{text}");
}
