//! The `list` subcommand: the contenders and their versions.

use clap::ValueEnum;
use reqscope_records::compare::ContenderInfo;

use crate::contender::Contender;
use crate::contenders::{Name, Visitor};

/// The lock file of this package.
const LOCK: &str = include_str!("../Cargo.lock");

/// The name of this package.
const SELF: &str = env!("CARGO_PKG_NAME");

struct Listing(Name);

impl Visitor for Listing {
    type Output = ContenderInfo;

    fn visit<C: Contender>(self) -> ContenderInfo {
        info(self.0.to_string(), C::TITLE, C::PACKAGE)
    }
}

/// Returns the description of one contender.
pub(crate) fn info(name: String, title: &str, package: Option<&str>) -> ContenderInfo {
    let version = package.map(|package| version(LOCK, package).expect("what is linked is locked"));
    ContenderInfo { name, title: title.to_owned(), package: package.map(str::to_owned), version }
}

/// Prints all contenders.
pub(crate) fn print() -> anyhow::Result<()> {
    let all: Vec<ContenderInfo> = Name::value_variants().iter().map(|name| name.visit(Listing(*name))).collect();
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

/// Returns the version of a direct dependency. If a package is locked twice, its dependents name it with its version.
fn version(lock: &str, package: &str) -> Option<String> {
    let entry = |name: &str| lock.split("[[package]]").find(|entry| field(entry, "name") == Some(name));
    let own = entry(SELF)?.lines().find_map(|line| {
        let (name, version) = line.trim().trim_end_matches(',').trim_matches('"').split_once(' ')?;
        (name == package).then(|| version.to_owned())
    });
    own.or_else(|| field(entry(package)?, "version").map(str::to_owned))
}

fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_package_locked_twice_is_the_direct_one() {
        let lock = "[[package]]\nname = \"band\"\nversion = \"0.6.7\"\n\n[[package]]\nname = \"band\"\n\
                    version = \"0.7.4\"\n\n[[package]]\nname = \"pool\"\nversion = \"1.0.0\"\n\n[[package]]\n\
                    name = \"reqscope-compare\"\nversion = \"0.1.0\"\ndependencies = [\n \"band 0.7.4\",\n \"pool\",\n]\n";
        assert_eq!(version(lock, "band").as_deref(), Some("0.7.4"));
        assert_eq!(version(lock, "pool").as_deref(), Some("1.0.0"));
        assert_eq!(version(lock, "other"), None);
    }

    #[test]
    fn each_contender_has_a_version_unless_it_is_a_floor() {
        for name in Name::value_variants() {
            let info = name.visit(Listing(*name));
            assert_eq!(info.version.is_none(), info.package.is_none(), "{}", info.name);
        }
    }
}
