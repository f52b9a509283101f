//! Who is compared, and in which version: the `list` subcommand.

use clap::ValueEnum;
use reqscope_records::compare::ContenderInfo;

use crate::contender::Contender;
use crate::contenders::{Name, Visitor};

/// What the build resolved its dependencies to.
const LOCK: &str = include_str!("../Cargo.lock");

/// The package this is.
const SELF: &str = env!("CARGO_PKG_NAME");

struct Listing(Name);

impl Visitor for Listing {
    type Output = ContenderInfo;

    fn visit<C: Contender>(self) -> ContenderInfo {
        info(self.0.to_string(), C::TITLE, C::PACKAGE)
    }
}

pub(crate) fn info(name: String, title: &str, package: Option<&str>) -> ContenderInfo {
    let version = package.map(|package| version(LOCK, package).expect("what is linked is locked"));
    ContenderInfo { name, title: title.to_owned(), package: package.map(str::to_owned), version }
}

/// Prints all of them.
pub(crate) fn print() -> anyhow::Result<()> {
    let all: Vec<ContenderInfo> = Name::value_variants().iter().map(|name| name.visit(Listing(*name))).collect();
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

/// The version of a direct dependency. One that is locked twice is named with its version by who depends on it.
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
    fn the_version_of_a_package_locked_twice_is_the_one_we_depend_on() {
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
