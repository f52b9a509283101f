//! The database servers that some tests need: found, installed, or left out on purpose.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use crate::cargo::Cargo;

/// The module of each test that needs a server.
const MODULE: &str = "with_server";

/// The folders that the test kit searches after PATH.
const FOLDERS: [&str; 7] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/libexec",
    "/usr/local/mysql/bin",
    "/usr/local/mysql/scripts",
];

/// A Debian package, and its programs.
struct Package {
    name: &'static str,
    programs: &'static [Program],
}

/// A program, with its possible names, the preferred one first, and the variable that says where it is: as in the test
/// kit.
struct Program {
    names: &'static [&'static str],
    variable: &'static str,
}

const PACKAGES: [Package; 1] = [Package {
    name: "mariadb-server",
    programs: &[
        Program { names: &["mariadbd", "mysqld"], variable: "REQSCOPE_MARIADBD_BIN" },
        Program { names: &["mariadb-install-db", "mysql_install_db"], variable: "REQSCOPE_MARIADB_INSTALL_DB_BIN" },
        Program { names: &["mariadb", "mysql"], variable: "REQSCOPE_MARIADB_BIN" },
    ],
}];

#[derive(Args)]
pub(crate) struct Options {
    /// Leaves out the tests that need a database server.
    #[arg(long)]
    no_servers: bool,
}

impl Options {
    /// Excludes the tests that need a server from a command, if they are to be left out.
    pub(crate) fn on(&self, cargo: Cargo) -> Cargo {
        if self.no_servers { without(cargo) } else { cargo }
    }

    /// Returns what to say at the end if these tests were left out.
    pub(crate) fn left_out(&self) -> Option<String> {
        let names: Vec<_> = PACKAGES.iter().map(|package| package.name).collect();
        self.no_servers.then(|| {
            format!(
                "left out on purpose (--no-servers): the tests in modules `{MODULE}`, which need {}; nothing was tested \
                 against a real server",
                names.join(", ")
            )
        })
    }
}

/// Excludes the tests that need a server from a command.
pub(crate) fn without(cargo: Cargo) -> Cargo {
    cargo.words(&format!("-- --skip {MODULE}"))
}

/// Installs what is missing, if it may. Otherwise fails and names it.
pub(crate) fn ensure() -> anyhow::Result<()> {
    for package in &PACKAGES {
        // If a variable names a wrong path, installing does not help.
        if package.missing().any(|program| env::var_os(program.variable).is_none()) && may_install() {
            package.install()?;
        }
        if package.missing().next().is_some() {
            bail!("{}", package.advice());
        }
        let found: Vec<_> = package.programs.iter().filter_map(Program::find).collect();
        println!("{}: {}", package.name, found.join(", "));
    }
    Ok(())
}

impl Package {
    fn missing(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(|program| program.find().is_none())
    }

    fn advice(&self) -> String {
        let missing: Vec<_> = self.missing().map(Program::complaint).collect();
        format!(
            "missing: {}. Install Debian's package {}, or run with --no-servers to leave out the tests that need it",
            missing.join(", "),
            self.name
        )
    }

    /// Installs the package without asking. The caller looks afterwards whether that has helped.
    fn install(&self) -> anyhow::Result<()> {
        println!("installing {} with apt-get", self.name);
        apt_get(self.name)
    }
}

/// Installs a Debian package, and starts none of its services. The caller looks afterwards whether that has helped.
pub(crate) fn apt_get(package: &str) -> anyhow::Result<()> {
    // The tests start servers of their own.
    let _policy = NoServices::while_installing()?;
    let install = ["install", "--yes", "--no-install-recommends", package];
    // A fresh machine has no list of packages.
    if !run("apt-get", &install)? && run("apt-get", &["update"])? {
        run("apt-get", &install)?;
    }
    Ok(())
}

/// The policy by which Debian's packages start no service, unless the machine has a policy of its own.
struct NoServices {
    written: bool,
}

impl NoServices {
    /// Debian's maintainer scripts ask this program before they start a service, under systemd too.
    const PROGRAM: &str = "/usr/sbin/policy-rc.d";

    fn while_installing() -> anyhow::Result<NoServices> {
        let path = Path::new(Self::PROGRAM);
        if path.exists() {
            return Ok(NoServices { written: false });
        }
        // 101 is "action forbidden by policy".
        fs::write(path, "#!/bin/sh\nexit 101\n").context(Self::PROGRAM)?;
        let policy = NoServices { written: true };
        if !run("chmod", &["755", Self::PROGRAM])? {
            bail!("cannot make {} executable", Self::PROGRAM);
        }
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(Self::PROGRAM)
        {
            eprintln!("cannot delete {}: {error}", Self::PROGRAM);
        }
    }
}

/// Returns whether this process is root, on a system with apt-get.
pub(crate) fn may_install() -> bool {
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "0");
    root && Command::new("apt-get")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program, and returns whether it succeeded.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<bool> {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    Ok(command.status()?.success())
}

impl Program {
    /// Finds the program: by its variable, on PATH, or where packages put it.
    fn find(&self) -> Option<String> {
        let is_there = |path: &Path| path.is_file().then(|| path.display().to_string());
        if let Some(path) = env::var_os(self.variable) {
            return is_there(Path::new(&path));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = || env::split_paths(&path).chain(FOLDERS.map(Into::into));
        self.names.iter().find_map(|name| folders().find_map(|folder| is_there(&folder.join(name))))
    }

    /// Returns the message for a missing program.
    fn complaint(&self) -> String {
        match env::var_os(self.variable) {
            Some(path) => format!("{} ({} is set to {})", self.names[0], self.variable, path.display()),
            None => format!(
                "{} (found neither on PATH nor where packages put it; {} names it elsewhere)",
                self.names[0], self.variable
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Package = Package {
        name: "nowhere-server",
        programs: &[
            Program { names: &["nowhered"], variable: "REQSCOPE_NOWHERED_BIN" },
            Program { names: &["sh"], variable: "REQSCOPE_SH_BIN" },
            // A variable that cargo sets for every test, and whose value is a folder.
            Program { names: &["sh"], variable: "CARGO_MANIFEST_DIR" },
        ],
    };

    #[test]
    fn advice_names_program_variable_package_and_switch() {
        assert_eq!(NOWHERE.missing().count(), 2);
        let advice = NOWHERE.advice();
        let wrong = format!("sh (CARGO_MANIFEST_DIR is set to {})", env!("CARGO_MANIFEST_DIR"));
        for part in ["nowhered", "REQSCOPE_NOWHERED_BIN", &wrong, "nowhere-server", "--no-servers"] {
            assert!(advice.contains(part), "{advice}");
        }
        assert!(!advice.contains("REQSCOPE_SH_BIN"), "{advice}");
    }

    #[test]
    fn left_out_tests_are_mentioned_at_the_end() {
        let remark = Options { no_servers: true }.left_out().unwrap();
        assert!(
            remark.contains("--no-servers") && remark.contains("mariadb-server") && remark.contains(MODULE),
            "{remark}"
        );
        assert!(Options { no_servers: false }.left_out().is_none());
    }
}
