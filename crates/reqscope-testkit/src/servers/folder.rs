use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::ServerError;
use super::user::UnixUser;

const GUARD: &str = include_str!("guard.sh");

/// The path of a Unix socket has 104 characters at most on some systems, and about 30 are added to this one.
const LONGEST_BASE: usize = 60;

/// How long a drop waits for the guard to remove a small folder. The guard goes on without the wait.
const GUARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The folder of one server. Its guard removes it when this is dropped, or when this process ends, however it ends.
pub(super) struct Folder {
    path: PathBuf,
    /// The guard. It waits for the end of its standard input, which this process alone can write to.
    guard: Child,
}

impl Folder {
    /// Creates a folder that only this user, or the server's user, can read.
    pub(super) fn new(user: Option<UnixUser>) -> Result<Folder, ServerError> {
        let base = base(user);
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "reqscope-guard"])
            .arg(&base)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("start /bin/sh"))?;
        let path = read_path(&mut guard);
        let doing = || format!("make a folder in {}", base.display());
        // From here on a drop removes it.
        let folder = Folder { path: path.map_err(ServerError::io(doing()))?, guard };
        if let Some(user) = user {
            user.own(&folder.path)?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a pipe on which a process registers its group with the guard. The guard waits while it is open anywhere.
    pub(super) fn registration_pipe(&self) -> io::Result<OwnedFd> {
        let stdin = self.guard.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.as_fd().try_clone_to_owned()
    }

    /// Tells the guard that the registered group has ended.
    pub(super) fn forget_group(&mut self) -> io::Result<()> {
        self.guard.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"\n")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let until = Instant::now() + GUARD_TIMEOUT;
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
    }
}

fn read_path(guard: &mut Child) -> io::Result<PathBuf> {
    let mut line = String::new();
    if let Some(stdout) = guard.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let mut problem = String::new();
    if let (true, Some(mut stderr)) = (line.is_empty(), guard.stderr.take()) {
        stderr.read_to_string(&mut problem)?;
        guard.wait()?;
        return Err(io::Error::other(problem.trim_end().to_owned()));
    }
    Ok(PathBuf::from(line.trim_end_matches('\n')))
}

/// Returns the temporary folder if its path is short enough and the server's user may enter it, or else `/tmp`.
fn base(user: Option<UnixUser>) -> PathBuf {
    let chosen = absolute(env::temp_dir()).ok().filter(|path| path.as_os_str().len() <= LONGEST_BASE);
    let open = |path: &Path| path.metadata().is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0);
    chosen.filter(|path| user.is_none() || path.ancestors().all(open)).unwrap_or_else(|| PathBuf::from("/tmp"))
}
