//! `cargo xtask loom`: the core under a model checker, which runs each model in every order of its threads.

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::Tree;

/// Replaces the core's locks, atomics and tasks by the checker's. Not the usual cfg `loom`, which tokio reads too:
/// tokio then has no network, and the crates beside the core do not build.
const FLAG: &str = "--cfg reqscope_loom -D warnings";

/// Runs all models.
pub(crate) fn run(tree: &Tree, report: &mut Report) {
    report.step("loom: the models of the core", || {
        // One model at a time: the checker allocates so many stacks that two models in parallel wait for the kernel,
        // and take longer than in sequence. Optimized, because each model runs in hundreds of thousands of orders.
        apart(tree, "test --release --package reqscope --lib --no-fail-fast")
            .words("loom:: -- --test-threads=1")
            .run()
    });
}

/// Runs clippy over the models, so that they compile even though they run rarely.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    // The models exist in the test profile only.
    apart(tree, "clippy --package reqscope --lib --profile test").run_quietly()
}

/// Returns a command with a target folder of its own, because the flag rebuilds every dependency.
fn apart(tree: &Tree, line: &str) -> Cargo {
    let target = tree.metadata().target_directory.join("loom");
    Cargo::new(tree, line).argument("--target-dir", target.as_std_path()).flags("RUSTFLAGS", FLAG)
}
