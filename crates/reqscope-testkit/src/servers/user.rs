use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::{Kind, ServerError};

/// The user that a server runs as if the tests run as root, because servers refuse to run as root.
#[derive(Clone, Copy)]
pub(super) struct UnixUser {
    user: u32,
    group: u32,
}

impl UnixUser {
    /// Returns the user that the package has created, if this process is root's. Otherwise `None`: the server runs as
    /// the user who runs the tests.
    pub(super) fn other_than_root(
        name: &'static str,
        package: &'static str,
    ) -> Result<Option<UnixUser>, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        match (id("-u", name), id("-g", name)) {
            (Some(user), Some(group)) => Ok(Some(UnixUser { user, group })),
            _ => Err(Kind::NoUser { name, package }.into()),
        }
    }

    /// Makes the command run as this user, with this group and no other.
    pub(super) fn runs(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    pub(super) fn own(self, path: &Path) -> Result<(), ServerError> {
        chown(path, Some(self.user), Some(self.group))
            .map_err(ServerError::io(format!("give {} to the server's user", path.display())))
    }
}

/// Asks the system, whose users need not be in a file.
fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
