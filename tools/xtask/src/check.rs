//! `cargo xtask check`: what can be checked without running the code, then the tests that take a build of their own.

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::{APART, Tree};
use crate::{
    bench, circles, compare, deny, edges, examples, features, floors, futures, fuzz, links, loom, manifests, msrv,
    mutants, names, packages, portable, readme_project, servers, verbs, words,
};

/// Runs all checks, the cheap ones first.
pub(crate) fn run(tree: &Tree, servers: &servers::Options, report: &mut Report) {
    report.step("check: format", || {
        Cargo::new(tree, "fmt --all --check").run_quietly()?;
        for folder in APART {
            Cargo::new(tree, format!("fmt --manifest-path {folder}/Cargo.toml --check")).run_quietly()?;
        }
        Ok(())
    });
    report.step("check: imports within the crates go down the floors", || floors::check(tree));
    report.step("check: no circle of files", || circles::check(tree));
    report.step("check: dependencies between the crates go down the floors", || edges::check(tree));
    report.step("check: words that do not belong here", || words::check(tree));
    report.step("check: names of functions", || names::check(tree));
    report.step("check: verbs at the beginning of the docs", || verbs::check(tree));
    report.step("check: paths in .cargo/mutants.toml", || mutants::check_paths(tree));
    report.step("check: models in the note about them", || loom::check_note(tree));
    report.step("check: links in the documents", || links::check(tree));
    report.step("check: marks of the generated figures", || {
        bench::check_marks(tree)?;
        compare::check_marks(tree)
    });
    report.step("check: licences and sources of all dependencies", || deny::check(tree));
    report.step("check: compilers that the dependencies want", || msrv::check(tree));
    report.step("check: what crates.io and docs.rs show", || manifests::check(tree));
    report.step("check: clippy", || {
        Cargo::new(tree, "clippy --workspace --all-targets --all-features -- -D warnings").run_quietly()
    });
    report.step("check: clippy over each feature alone", || features::lint(tree));
    report.step("check: clippy over the models", || loom::lint(tree));
    report.step("check: clippy over the fuzzer, as its lock file says", || fuzz::lint(tree));
    report.step("check: clippy over the contenders, as their lock file says", || compare::lint(tree));
    report.step("check: docs", || {
        Cargo::new(tree, "doc --workspace --all-features --no-deps")
            .flags("RUSTDOCFLAGS", "-D warnings")
            .run_quietly()
    });
    report.step("check: every public future says what its drop loses", || futures::check(tree));
    report.step("check: every public type, trait, function and macro has an example", || examples::check(tree));
    report.step("check: the README's example compiles in a project of its own", || readme_project::check(tree));
    report.step("check: packages, in publishing order", || packages::check(tree));
    report.step("check: tests without features", || features::test_without(tree));
    match servers.left_out() {
        Some(left_out) => report.remark(left_out),
        None => report.step("check: the servers that tests need", servers::ensure),
    }
    report.step("check: tests of the portable fallbacks", || portable::test(tree, servers));
    report.step("check: tests of the comparison, and that each of its scripts can fail", || compare::test(tree));
}
