use std::process::Command;

use anyhow::Context;
use serde::Serialize;

use crate::valgrind::Valgrind;

/// The conditions under which the figures were measured. Another compiler gives other figures.
#[derive(Serialize)]
pub(crate) struct Conditions {
    pub(crate) compiler: String,
    pub(crate) profile: &'static str,
    pub(crate) target: String,
    pub(crate) valgrind: String,
}

impl Conditions {
    /// Asks rustc and valgrind.
    pub(crate) fn ask(valgrind: &Valgrind) -> anyhow::Result<Conditions> {
        let output = Command::new("rustc").arg("-vV").output().context("rustc")?;
        let text = String::from_utf8(output.stdout)?;
        let target = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc prints no host")?;
        Ok(Conditions {
            compiler: text.lines().next().context("rustc prints no version")?.to_owned(),
            // As the root's Cargo.toml has it.
            profile: "release, codegen-units = 1, fat LTO",
            target: target.to_owned(),
            valgrind: valgrind.version().to_owned(),
        })
    }
}
