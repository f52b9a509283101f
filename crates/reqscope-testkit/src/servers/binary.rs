//! Where the programs are.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::{Kind, ServerError};

/// Looked through after PATH, on which a user's shell does not have all of them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// A program, and where it may be.
pub(super) struct Binary {
    /// The best one first.
    pub(super) names: &'static [&'static str],
    /// Says where it is. Whoever sets it wants this one, so nothing else is looked for.
    pub(super) variable: &'static str,
    /// Where its own installer puts it.
    pub(super) folders: &'static [&'static str],
    /// Of Debian.
    pub(super) package: &'static str,
}

impl Binary {
    pub(super) fn find(&self) -> Result<PathBuf, ServerError> {
        if let Some(path) = env::var_os(self.variable).map(PathBuf::from) {
            if is_executable(&path) {
                return Ok(path);
            }
            return Err(Kind::Misnamed { variable: self.variable, path, package: self.package }.into());
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let fixed = || FOLDERS.iter().chain(self.folders).map(PathBuf::from);
        for name in self.names {
            // An empty entry of PATH stands for the working folder, which is no place for a server.
            let places = env::split_paths(&path).filter(|folder| folder.is_absolute()).chain(fixed());
            if let Some(found) = places.map(|folder| folder.join(name)).find(|path| is_executable(path)) {
                return Ok(found);
            }
        }
        let fixed: Vec<_> = fixed().map(|folder| folder.display().to_string()).collect();
        let searched = format!("PATH ({}) and {}", path.to_string_lossy(), fixed.join(", "));
        let names = self.names.join(" or ");
        Err(Kind::Missing { names, searched, variable: self.variable, package: self.package }.into())
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_is_told_with_all_that_helps() {
        let nowhere = Binary {
            names: &["reqscope-nowhered", "reqscope-elsewhered"],
            variable: "REQSCOPE_NOWHERED_BIN",
            folders: &["/opt/nowhere"],
            package: "nowhere-server",
        };
        let error = nowhere.find().unwrap_err();
        assert!(error.is_missing());
        let said = error.to_string();
        let path = env::var("PATH").unwrap();
        for part in ["reqscope-nowhered or reqscope-elsewhered", &path, "/usr/sbin", "/usr/local/bin", "/opt/nowhere"]
        {
            assert!(said.contains(part), "{said}");
        }
        assert!(
            said.contains("set REQSCOPE_NOWHERED_BIN") && said.contains("Debian's package nowhere-server"),
            "{said}"
        );
    }

    #[test]
    fn the_best_name_is_taken_wherever_it_is() {
        let shell = Binary {
            names: &["reqscope-nowhered", "sh"],
            variable: "REQSCOPE_SHELL_BIN",
            folders: &[],
            package: "dash",
        };
        assert_eq!(shell.find().unwrap().file_name().unwrap(), "sh");
    }
}
