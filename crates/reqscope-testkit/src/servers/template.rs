//! Data folders are created once and then copied, from one file per server and version in the user's cache folder.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Kind, ServerError};
use super::user::UnixUser;

/// How long to wait for another process that creates the file. After that it is taken for dead, and the file is not
/// used.
const WAIT: Duration = Duration::from_secs(120);

/// Fills the empty folder `data` from the template of this name, or by `make`, and then creates the template.
///
/// Several processes may call this at the same time: one creates the file and the others wait, and the file is complete
/// or absent. Without a writable cache folder, each server is made by `make`.
pub(super) fn fill(
    name: &str,
    data: &Path,
    user: Option<UnixUser>,
    make: impl FnOnce() -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    let Some(cache) = cache_folder().filter(|folder| fs::create_dir_all(folder).is_ok()) else { return make() };
    let file = cache.join(format!("{name}.tar"));
    if file.exists() {
        return unpack(&file, data, user);
    }
    let Some(_lock) = lock(&file.with_extension("lock")) else { return make() };
    // Another process may have created it before this one had the lock.
    if file.exists() {
        return unpack(&file, data, user);
    }
    make()?;
    pack(data, &file)
}

/// Returns the cache folder of the XDG specification. A shared temporary folder would not do: files vanish from it.
fn cache_folder() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(cache.or_else(|| Some(home()?.join(".cache")))?.join("reqscope/servers"))
}

/// Returns the locked file, or `None` if it cannot be locked. The system unlocks it when it is closed.
fn lock(path: &Path) -> Option<File> {
    let file = File::create(path).ok()?;
    let until = Instant::now() + WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => sleep(Duration::from_millis(10)),
            Err(_) => return None,
        }
    }
}

/// Unpacks a file that is opened here, because the user that unpacks it may not be allowed to.
fn unpack(file: &Path, data: &Path, user: Option<UnixUser>) -> Result<(), ServerError> {
    let open = File::open(file).map_err(ServerError::io(format!("open {}", file.display())))?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(data).args(["-x", "-p", "-f", "-"]).stdin(open);
    if let Some(user) = user {
        user.runs(&mut tar);
    }
    run(tar, &format!("unpacking {}, which may be removed,", file.display()))
}

/// Writes the file under another name, and renames it when it is complete.
fn pack(data: &Path, file: &Path) -> Result<(), ServerError> {
    let part = file.with_extension("part");
    let doing = || ServerError::io(format!("write {}", file.display()));
    let open = File::create(&part).map_err(doing())?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(data).args(["-c", "-f", "-", "."]);
    tar.stdin(Stdio::null()).stdout(open.try_clone().map_err(doing())?);
    run(tar, "packing a data folder")?;
    open.sync_all().map_err(doing())?;
    fs::rename(&part, file).map_err(doing())
}

fn run(mut tar: Command, what: &str) -> Result<(), ServerError> {
    let output = tar.stderr(Stdio::piped()).spawn().and_then(|child| child.wait_with_output());
    let output = output.map_err(ServerError::io("run tar"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Kind::Ended { program: what.to_owned(), status: output.status, said }.into())
}
