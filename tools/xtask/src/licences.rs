//! Everything that is compiled here must come under a licence that asks for no more than a notice.

use std::collections::BTreeSet;

use spdx::{Expression, LicenseReq, ParseMode};

use crate::report::none_of;
use crate::tree::{APART, Tree};

const ALLOWED: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "NCSA", "Unicode-3.0", "Zlib"];

/// Fails for each package, of ours or of others, whose licence expression cannot be met by the allowed ones.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let mut packages = tree.metadata().packages.clone();
    for folder in APART {
        packages.extend(tree.apart(folder)?.packages);
    }
    let findings = packages.iter().filter_map(|package| {
        let problem = judge(package.license.as_deref()).err()?;
        Some(format!("{} {}: {problem}", package.name, package.version))
    });
    // What several workspaces compile is told once.
    none_of(findings.collect::<BTreeSet<String>>().into_iter().collect())
}

fn judge(licence: Option<&str>) -> Result<(), String> {
    let licence = licence.ok_or("says no licence")?;
    // Lax: crates of before 2018 write `MIT/Apache-2.0`.
    let expression = Expression::parse_mode(licence, ParseMode::LAX).map_err(|error| error.reason.to_string())?;
    if expression.evaluate(is_allowed) { Ok(()) } else { Err(format!("`{licence}` is not allowed here")) }
}

/// An exception (`WITH LLVM-exception`) only gives more rights, so the licence before it decides.
fn is_allowed(requirement: &LicenseReq) -> bool {
    requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_side_of_an_or_is_enough() {
        assert_eq!(judge(Some("MIT OR Apache-2.0")), Ok(()));
        assert_eq!(judge(Some("GPL-3.0-only OR MIT")), Ok(()));
        assert_eq!(judge(Some("Unlicense/MIT")), Ok(()));
        assert_eq!(judge(Some("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT")), Ok(()));
    }

    #[test]
    fn both_sides_of_an_and_are_needed() {
        assert_eq!(judge(Some("(MIT OR Apache-2.0) AND Unicode-3.0")), Ok(()));
        assert!(judge(Some("MIT AND GPL-3.0-only")).is_err());
    }

    #[test]
    fn no_licence_and_no_known_licence_are_refused() {
        assert!(judge(None).is_err());
        assert!(judge(Some("LicenseRef-ask-us")).is_err());
        assert!(judge(Some("free as in beer")).is_err());
    }
}
