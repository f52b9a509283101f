//! Finds the programs.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::{Kind, ServerError};

/// Searched after PATH, because a user's PATH may lack some of them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// A program, and where to look for it.
pub(super) struct Binary {
    /// In order of preference.
    pub(super) names: &'static [&'static str],
    /// The variable that names the path. If it is set, nothing else is searched.
    pub(super) variable: &'static str,
    /// Where its own installer puts it.
    pub(super) folders: &'static [&'static str],
    /// The Debian package.
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
            // An empty entry of PATH is the working directory, where servers are not searched.
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
    fn error_of_a_missing_program_has_all_that_helps() {
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
    fn second_name_is_found_if_the_first_is_missing() {
        let shell = Binary {
            names: &["reqscope-nowhered", "sh"],
            variable: "REQSCOPE_SHELL_BIN",
            folders: &[],
            package: "dash",
        };
        assert_eq!(shell.find().unwrap().file_name().unwrap(), "sh");
    }
}
