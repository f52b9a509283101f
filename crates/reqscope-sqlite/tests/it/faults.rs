use std::fs;
use std::path::Path;
use std::sync::Arc;

use reqscope::{Error, Exit, Lease, Resource};
use reqscope_sqlite::{
    Sqlite, SqliteError,
    rusqlite::{Connection, ErrorCode},
};

use crate::support::{count, insert, rows, with_table, writing};

/// Returns the error of acquiring a connection to this file.
async fn refused(path: &Path) -> Error<SqliteError> {
    let error = with_table().build(path).acquire().await.unwrap_err();
    assert_eq!(error.stage(), Some(reqscope::error::Stage::Acquiring));
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    println!("{error:?}");
    error
}

fn code(error: &Error<SqliteError>) -> Option<ErrorCode> {
    error.cause().and_then(SqliteError::code)
}

/// Creates a database through a connection that is not of this crate. The connection is closed on return, because
/// SQLite would reuse an open descriptor.
fn create_in_another_process(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)")
        .unwrap();
}

#[tokio::test]
async fn missing_folder_is_a_permanent_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&folder.path().join("missing/a.db")).await;
    assert!(error.is_permanent());
    assert_eq!(code(&error), Some(ErrorCode::CannotOpen));
    assert!(refused(folder.path()).await.is_permanent(), "a folder is not a database");
}

#[tokio::test]
async fn file_that_is_no_database_is_a_permanent_error_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.db");
    let letter = "Dear Sir or Madam, ".repeat(500);
    fs::write(&path, &letter).unwrap();
    let error = refused(&path).await;
    assert!(error.is_permanent());
    assert_eq!(code(&error), Some(ErrorCode::NotADatabase));
    assert_eq!(fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn corrupt_database_is_a_permanent_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corrupt.db");
    create_in_another_process(&path);
    // The page of the schema, after the header.
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let error = refused(&path).await;
    assert!(error.is_permanent());
    assert_eq!(code(&error), Some(ErrorCode::DatabaseCorrupt));
}

#[tokio::test]
async fn removed_file_is_an_error_and_not_an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("removed.db");
    let sqlite = Arc::new(with_table().build(&path));
    let mut conn = Lease::acquire(&sqlite).await.unwrap();
    insert(&mut conn, 1).await.unwrap();

    fs::remove_file(&path).unwrap();
    let error = Lease::acquire(&sqlite).await.unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(code(&error), Some(ErrorCode::CannotOpen));
    assert!(!path.exists(), "no empty database replaces it");
    // Open connections keep the removed file.
    assert_eq!(count(&mut conn).await, 1);
    Lease::complete(conn).await.unwrap();
}

#[tokio::test]
async fn full_disk_is_an_error_and_rolls_back() {
    let sqlite = Sqlite::builder().on_open(|db| {
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v NOT NULL); PRAGMA max_page_count = 20",
        )
    });
    let sqlite = Arc::new(sqlite.build_temporary().unwrap());
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    let error = open.call(|db| db.execute("INSERT INTO t (v) VALUES (zeroblob(1000000))", ())).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::DiskFull), "{error:?}");
    Lease::fail(open).await.unwrap();
    assert_eq!(rows(&sqlite).await, 0);

    // The next transaction, which fits, succeeds.
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn read_only_resource_reads_but_does_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both.db");
    let reader = Arc::new(Sqlite::builder().read_only(true).build(&path));
    assert!(Lease::acquire(&reader).await.unwrap_err().is_permanent(), "there is nothing to read");

    let sqlite = Arc::new(with_table().build(&path));
    insert(&mut Lease::acquire(&sqlite).await.unwrap(), 1).await.unwrap();
    let mut conn = Lease::acquire(&reader).await.unwrap();
    assert_eq!(count(&mut conn).await, 1);
    assert_eq!(insert(&mut conn, 1).await.unwrap_err().code(), Some(ErrorCode::ReadOnly));
    Lease::complete(conn).await.unwrap();
}

/// Root may write everywhere, so these tests give up the capability to override file permissions.
#[cfg(target_os = "linux")]
mod without_privileges {
    use std::os::unix::fs::PermissionsExt;

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    /// Runs a test without that capability, on a thread of its own, because it cannot be regained. The thread of a
    /// connection inherits the capabilities of the thread that starts it.
    fn run(test: impl AsyncFnOnce() + Send + 'static) {
        let thread = std::thread::spawn(move || {
            let mut sets = capabilities(None).unwrap();
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            set_capabilities(None, sets).unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
        });
        thread.join().unwrap();
    }

    fn permit(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn unwritable_folder_is_a_permanent_error() {
        run(async || {
            let folder = tempfile::tempdir().unwrap();
            permit(folder.path(), 0o555);
            let error = refused(&folder.path().join("a.db")).await;
            permit(folder.path(), 0o755);
            assert!(error.is_permanent());
            assert_eq!(code(&error), Some(ErrorCode::CannotOpen));
        });
    }

    #[test]
    fn unwritable_file_is_a_permanent_error_when_acquiring() {
        run(async || {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.db");
            create_in_another_process(&path);
            permit(&path, 0o444);
            let error = refused(&path).await;
            assert!(error.is_permanent());
            assert_eq!(code(&error), Some(ErrorCode::ReadOnly));
        });
    }
}

/// The limit holds for the whole process, so the test runs itself in a process of its own, marked by a variable.
#[cfg(target_os = "linux")]
#[test]
fn too_many_open_files_are_a_temporary_error() {
    use rustix::process::{Resource as Limit, getrlimit, setrlimit};

    const ALONE: &str = "REQSCOPE_SQLITE_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "faults::too_many_open_files_are_a_temporary_error";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(ALONE, "yes")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sqlite = Arc::new(with_table().build_temporary().unwrap());
    let conn = runtime.block_on(sqlite.acquire()).unwrap();
    runtime.block_on(sqlite.release(conn, Exit::Failed)).unwrap();
    setrlimit(Limit::Nofile, rustix::process::Rlimit { current: Some(64), ..getrlimit(Limit::Nofile) }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        files.push(file);
    }
    let error = runtime.block_on(sqlite.acquire()).unwrap_err();
    assert_eq!(code(&error), Some(ErrorCode::CannotOpen));
    assert!(!error.is_permanent(), "{error:?}");
    drop(files);
    assert_eq!(runtime.block_on(rows(&sqlite)), 0);
}
