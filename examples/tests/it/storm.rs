//! Small storms, and storms that must fail.
use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::process::{Server, example, run};

/// Runs a storm to its end, and reads its report.
pub(crate) fn storm(arguments: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = run(example("storm").args(arguments).arg("--json").arg(&file));
    let report = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    (output, serde_json::from_slice(&report).unwrap())
}

/// Returns what the program has written to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the names of the broken invariants in the report.
pub(crate) fn broken(report: &Value) -> Vec<&str> {
    let invariants = report["invariants"].as_array().unwrap().iter();
    invariants.filter(|it| it["holds"] == false).map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn storm_on_sqlite_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "1", "--resource", "sqlite"]);
    let pool = |name: &str| report["server"]["pool"][name].as_u64().unwrap();
    assert_eq!((pool("size"), pool("in_use"), pool("opening_or_closing"), pool("waiting")), (10, 0, 0, 0));
    assert_eq!(pool("opened"), pool("closed") + pool("idle"));
    assert!((2..=10).contains(&pool("peak")), "{}", pool("peak"));
}

/// The smaller the pool, the more often a connection is handed from one request to the next.
#[test]
fn storm_on_a_pool_of_two_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "8", "--seed", "9", "--pool", "2"]);
    assert_eq!(report["server"]["pool"]["peak"], 2);
}

#[test]
fn storm_in_memory_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "2", "--resource", "memory"]);
    assert!(report["server"]["pool"].is_null());
}

#[test]
fn storm_over_http2_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "10", "--http2"]);
    assert_eq!(report["protocol"], "HTTP/2");
    assert_eq!(report["server"]["stack"], "hyper");
}

#[cfg(feature = "axum")]
#[test]
fn storm_on_axum_leaves_nothing_behind_over_either_protocol() {
    let arguments = ["--requests", "1500", "--connections", "16", "--seed", "11", "--stack", "axum"];
    let report = survives(&arguments);
    assert_eq!((&report["protocol"], &report["server"]["stack"]), (&"HTTP/1.1".into(), &"axum".into()));
    let report = survives(&[&arguments[..], &["--http2", "--pool", "2"]].concat());
    assert_eq!((&report["protocol"], &report["server"]["stack"]), (&"HTTP/2".into(), &"axum".into()));
}

#[cfg(not(feature = "axum"))]
#[test]
fn stack_that_was_not_built_is_named() {
    let output = run(example("storm").args(["--stack", "axum"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--features axum"), "{}", stderr(&output));
}

/// Runs a storm that cuts requests at every stage.
///
/// The clients hang up within 10 ms. On a busy machine, a storm may cut no request at one of the stages. That says nothing
/// about the server, so the storm is repeated.
pub(crate) fn storm_at_every_stage(arguments: &[&str]) -> (Output, Value) {
    let mut storms = (0..5).map(|_| storm(arguments));
    let at_every_stage = storms.find(|(_, report)| broken(report) != ["every stage is cut"]);
    at_every_stage.expect("one of the storms cuts requests at every stage")
}

/// Runs a storm that must succeed, and returns its report.
pub(crate) fn survives(arguments: &[&str]) -> Value {
    let (output, report) = storm_at_every_stage(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(broken(&report), [""; 0]);

    let count = |name: &str| report["server"][name].as_u64().unwrap();
    assert!(count("acquired") > 100);
    assert_eq!(count("acquired"), count("released"));
    assert!(count("committed") > 10);
    assert_eq!(count("committed"), count("rows"));
    for name in [
        "abandoned",
        "live",
        "double_released",
        "used_after_release",
        "wrong_exits",
        "crossed",
        "wrong_answers",
        "busy",
    ] {
        assert_eq!(count(name), 0, "{name}");
    }
    let sent: u64 =
        report["scenarios"].as_array().unwrap().iter().map(|scenario| scenario["sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 1500);
    report
}

#[test]
fn forgotten_guard_is_caught() {
    fails("leak", &["no handle is live", "the shutdown is clean", "the pool is at rest", "the pool closes cleanly"]);
}

#[test]
fn second_release_is_caught() {
    fails("double", &["no handle is released twice"]);
}

#[test]
fn tag_outside_of_its_transaction_is_caught() {
    fails("cross", &["no transaction is crossed", "every answer is a 200"]);
}

/// Runs storms that must break these invariants.
///
/// The longer a handler works, the more other requests there are that a fault can affect.
fn fails(fault: &str, names: &[&str]) {
    let stacks: &[&str] = if cfg!(feature = "axum") { &["hyper", "axum"] } else { &["hyper"] };
    for stack in stacks {
        for protocol in [&[][..], &["--http2"]] {
            let storm_of =
                ["--requests", "1500", "--seed", "3", "--work-ms", "20", "--break", fault, "--stack", stack];
            let (output, report) = storm(&[&storm_of, protocol].concat());
            assert_eq!(output.status.code(), Some(1));
            for name in names {
                let broken = broken(&report);
                assert!(broken.contains(name), "{stack} {protocol:?}: {name} is not among {broken:?}");
                assert!(stderr(&output).contains(&format!("storm: broken: {name}: ")), "{}", stderr(&output));
            }
        }
    }
}

#[cfg(not(feature = "mysql"))]
#[test]
fn database_that_was_not_built_is_named() {
    let output = run(example("storm").args(["--resource", "mysql"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--features mysql"), "{}", stderr(&output));
}

#[test]
fn mysql_options_are_refused_elsewhere() {
    for arguments in [["--break", "shift"], ["--break", "orphan"], ["--url", "mysql://root:s3cr3t@localhost/test"]] {
        let output = run(example("storm").args(arguments));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("--resource mysql"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cr3t"), "{}", stderr(&output));
    }
}

#[test]
fn storm_too_small_to_cut_anything_fails() {
    let (output, report) = storm(&["--requests", "1", "--seed", "1", "--resource", "memory"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        broken(&report).starts_with(&["every scenario is played", "every stage is cut"]),
        "{:?}",
        broken(&report)
    );
}

#[test]
fn same_seed_draws_the_same_scenarios() {
    let scenarios = |seed: &str, protocol: &[&str]| {
        let (_, report) = storm(&[&["--requests", "200", "--seed", seed, "--resource", "memory"], protocol].concat());
        let scenarios = report["scenarios"].as_array().unwrap().iter();
        let counts = |scenario: &Value| ["sent", "requests"].map(|name| scenario[name].as_u64().unwrap());
        scenarios.map(counts).collect::<Vec<_>>()
    };
    for protocol in [&[][..], &["--http2"]] {
        assert_eq!(scenarios("4", protocol), scenarios("4", protocol));
        assert_ne!(scenarios("4", protocol), scenarios("5", protocol));
    }
}

#[cfg(unix)]
#[test]
fn storm_on_another_server_leaves_nothing_behind() {
    let server = Server::start(example("storm").args(["serve", "--port", "0"]));
    let (output, report) = storm_at_every_stage(&[
        "attack",
        "--target",
        &server.address,
        "--requests",
        "1500",
        "--connections",
        "16",
        "--seed",
        "6",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(broken(&report), [""; 0]);
    let (status, text) = server.interrupt();
    assert!(status.success(), "{text}");
}

#[test]
fn target_that_does_not_answer_is_named() {
    // No program listens on the first port.
    let output = run(example("storm").args(["attack", "--target", "127.0.0.1:1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:1 does not answer"), "{}", stderr(&output));
}

#[test]
fn port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(example("storm").args(["serve", "--port", &port]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on 127.0.0.1:{port}")), "{}", stderr(&output));
}

#[test]
fn report_that_cannot_be_written_is_an_error() {
    let output = run(example("storm").args(["--requests", "50", "--json", "/no/such/folder/report.json"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write /no/such/folder/report.json"), "{}", stderr(&output));
}
