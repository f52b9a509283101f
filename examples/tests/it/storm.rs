//! A small storm, and storms that have to fail.
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

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The names of the broken invariants, as the report has them.
pub(crate) fn broken(report: &Value) -> Vec<&str> {
    let invariants = report["invariants"].as_array().unwrap().iter();
    invariants.filter(|it| it["holds"] == false).map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn a_storm_on_sqlite_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "1", "--resource", "sqlite"]);
    let pool = |name: &str| report["server"]["pool"][name].as_u64().unwrap();
    assert_eq!((pool("size"), pool("in_use"), pool("in_between"), pool("waiting")), (10, 0, 0, 0));
    assert_eq!(pool("opened"), pool("closed") + pool("idle"));
    assert!((2..=10).contains(&pool("most")), "{}", pool("most"));
}

/// The less there is, the more is handed from one to the other.
#[test]
fn a_storm_on_a_pool_of_two_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "8", "--seed", "9", "--pool", "2"]);
    assert_eq!(report["server"]["pool"]["most"], 2);
}

#[test]
fn a_storm_on_a_counter_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "2", "--resource", "counter"]);
    assert!(report["server"]["pool"].is_null());
}

#[test]
fn a_storm_over_http2_leaves_nothing_behind() {
    let report = survives(&["--requests", "1500", "--connections", "16", "--seed", "10", "--http2"]);
    assert_eq!(report["protocol"], "HTTP/2");
    assert_eq!(report["server"]["stack"], "hyper");
}

#[cfg(feature = "axum")]
#[test]
fn a_storm_on_axum_leaves_nothing_behind_over_either_protocol() {
    let arguments = ["--requests", "1500", "--connections", "16", "--seed", "11", "--stack", "axum"];
    let report = survives(&arguments);
    assert_eq!((&report["protocol"], &report["server"]["stack"]), (&"HTTP/1.1".into(), &"axum".into()));
    let report = survives(&[&arguments[..], &["--http2", "--pool", "2"]].concat());
    assert_eq!((&report["protocol"], &report["server"]["stack"]), (&"HTTP/2".into(), &"axum".into()));
}

#[cfg(not(feature = "axum"))]
#[test]
fn a_stack_that_was_not_built_is_named() {
    let output = run(example("storm").args(["--stack", "axum"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--features axum"), "{}", stderr(&output));
}

pub(crate) fn survives(arguments: &[&str]) -> Value {
    let (output, report) = storm(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(broken(&report), [""; 0]);

    let count = |name: &str| report["server"][name].as_u64().unwrap();
    assert!(count("acquired") > 100);
    assert_eq!(count("acquired"), count("released"));
    assert!(count("committed") > 10);
    assert_eq!(count("committed"), count("rows"));
    for name in ["abandoned", "live", "double_released", "used_after_release", "misled", "crossed", "shifted", "busy"]
    {
        assert_eq!(count(name), 0, "{name}");
    }
    let sent: u64 = report["fates"].as_array().unwrap().iter().map(|fate| fate["sent"].as_u64().unwrap()).sum();
    assert_eq!(sent, 1500);
    report
}

#[test]
fn a_forgotten_guard_is_caught() {
    fails("leak", &["no handle is live", "the shutdown is clean", "the pool is at rest", "the pool closes whole"]);
}

#[test]
fn a_second_release_is_caught() {
    fails("double", &["no handle is released twice"]);
}

#[test]
fn a_tag_outside_of_its_transaction_is_caught() {
    fails("cross", &["no transaction is crossed", "every answer is a 200"]);
}

/// The longer a handler works, the more of the others are there to be disturbed.
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
fn a_database_that_was_not_built_is_named() {
    let output = run(example("storm").args(["--resource", "mysql"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--features mysql"), "{}", stderr(&output));
}

#[test]
fn what_only_mysql_has_is_refused_elsewhere() {
    for arguments in [["--break", "shift"], ["--break", "orphan"], ["--url", "mysql://root:s3cr3t@localhost/test"]] {
        let output = run(example("storm").args(arguments));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("--resource mysql"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cr3t"), "{}", stderr(&output));
    }
}

#[test]
fn a_storm_too_small_to_hit_anything_proves_nothing() {
    let (output, report) = storm(&["--requests", "1", "--seed", "1", "--resource", "counter"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(broken(&report).starts_with(&["every fate is sent", "every stage is cut"]), "{:?}", broken(&report));
}

#[test]
fn the_same_seed_draws_the_same_fates() {
    let fates = |seed: &str, protocol: &[&str]| {
        let (_, report) =
            storm(&[&["--requests", "200", "--seed", seed, "--resource", "counter"], protocol].concat());
        let fates = report["fates"].as_array().unwrap().iter();
        fates.map(|fate| (fate["sent"].as_u64().unwrap(), fate["requests"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    for protocol in [&[][..], &["--http2"]] {
        assert_eq!(fates("4", protocol), fates("4", protocol));
        assert_ne!(fates("4", protocol), fates("5", protocol));
    }
}

#[cfg(unix)]
#[test]
fn a_storm_on_another_server_leaves_nothing_behind() {
    let server = Server::start(example("storm").args(["serve", "--port", "0"]));
    let (output, report) =
        storm(&["attack", "--target", &server.address, "--requests", "1500", "--connections", "16", "--seed", "6"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(broken(&report), [""; 0]);
    let (status, text) = server.interrupt();
    assert!(status.success(), "{text}");
}

#[test]
fn a_target_that_does_not_answer_is_named() {
    // Nobody listens on the first port.
    let output = run(example("storm").args(["attack", "--target", "127.0.0.1:1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:1 does not answer"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(example("storm").args(["serve", "--port", &port]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on 127.0.0.1:{port}")), "{}", stderr(&output));
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let output = run(example("storm").args(["--requests", "50", "--json", "/no/such/folder/report.json"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write /no/such/folder/report.json"), "{}", stderr(&output));
}
