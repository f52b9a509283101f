//! Tests that break the network and the file system around them, in namespaces of their own if the machine allows it.

use std::process::{Command, Stdio};

use crate::cargo::Cargo;
use crate::report::Report;
use crate::servers::{apt_get, may_install};
use crate::tree::Tree;

/// The module of each such test. A plain `cargo test` ignores it.
const MODULE: &str = "namespace";

/// The programs that the tests use, and Debian's package for each.
const TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("nft", "nftables")];

/// Runs these tests from the build of the others, or says why not.
pub(crate) fn run(tree: &Tree, report: &mut Report) {
    if let Err(why) = prepare() {
        report.remark(format!("left out: the tests in modules `{MODULE}`: {why}; no packet was made to vanish"));
        return;
    }
    report.step("tests: in a network of their own", || {
        // The namespace has no network.
        let line = format!(
            "test --offline --workspace --all-features --no-fail-fast --test it -- --ignored {MODULE} --test-threads 1"
        );
        Cargo::new(tree, line).within("unshare --net --mount").run()
    });
}

fn prepare() -> Result<(), String> {
    if !succeeds("unshare", &["--net", "--mount", "true"]) {
        return Err("this user may not create network namespaces".to_owned());
    }
    for (tool, package) in TOOLS {
        let is_there = || succeeds(tool, &["-V"]) || succeeds(tool, &["--version"]);
        if !is_there() && may_install() {
            println!("installing {package} with apt-get");
            apt_get(package).map_err(|error| error.to_string())?;
        }
        if !is_there() {
            return Err(format!("{tool} is missing, of Debian's package {package}"));
        }
    }
    Ok(())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
