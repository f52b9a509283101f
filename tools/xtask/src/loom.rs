//! `cargo xtask loom`: the core under a model checker, which runs each model in every order that its threads can take.

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::Tree;

/// Puts the checker's locks, atomics and tasks behind the core's doors. Not the usual `loom`, which tokio reads too:
/// it then offers no network, and what stands beside the core does not build.
const FLAG: &str = "--cfg reqscope_loom -D warnings";

/// Runs all models.
pub(crate) fn run(tree: &Tree, report: &mut Report) {
    report.step("loom: the models of the core", || {
        // One after the other: the checker makes so many stacks that two models side by side wait for the kernel, and
        // take longer together than in turn.
        // Optimized, since the models run for hundreds of thousands of orders.
        apart(tree, "test --release --package reqscope --lib --no-fail-fast")
            .words("loom:: -- --test-threads=1")
            .run()
    });
}

/// Looks at the models without running them, so that they do not rot between two runs.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    // As it is built for a test: elsewhere there are no models.
    apart(tree, "clippy --package reqscope --lib --profile test").run_quietly()
}

/// The flag rebuilds every dependency too, so it gets a target folder of its own.
fn apart(tree: &Tree, line: &str) -> Cargo {
    let target = tree.metadata().target_directory.join("loom");
    Cargo::new(tree, line).argument("--target-dir", target.as_std_path()).flags("RUSTFLAGS", FLAG)
}
