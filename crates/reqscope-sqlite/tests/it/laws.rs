//! The suite of laws, with an operation that asks for the number of its user, and a census of the open descriptors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use reqscope::{Pool, ResourceExt};
use reqscope_sqlite::{ReadOnly, Sqlite, SqliteConn, SqliteError, Transaction};
use reqscope_testkit::{Laws, laws};
use tempfile::TempDir;

use crate::support::{LIMIT, with_table};

/// The database files of one test.
struct Files {
    folder: TempDir,
    /// As the system names it, where a folder above is a link.
    path: PathBuf,
    made: AtomicU64,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Files { folder, path, made: AtomicU64::new(0) }
    }

    /// Returns a new database.
    fn sqlite(&self) -> Sqlite {
        let number = self.made.fetch_add(1, Relaxed);
        with_table().build(self.folder.path().join(format!("{number}.db")))
    }

    /// Returns how many connections of this process have one of the files open: one descriptor each, beside those of
    /// their logs.
    #[cfg(target_os = "linux")]
    fn open(&self) -> usize {
        let is_ours = |file: &Path| file.starts_with(&self.path) && file.extension().is_some_and(|ext| ext == "db");
        // A descriptor that was closed since the folder was read is no longer a link.
        let files =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        files.filter(|file| is_ours(file)).count()
    }
}

/// Asks for the number of the user, in a closure on the connection's thread.
async fn ask(conn: &mut SqliteConn, user: u32) -> Result<u32, SqliteError> {
    conn.call(move |db| db.query_row("SELECT ?1", [user], |row| row.get(0))).await
}

/// Adds the census, where the system can tell what is open.
fn counted<'a, R: reqscope::Resource>(laws: Laws<'a, R>, files: &'a Files) -> Laws<'a, R> {
    #[cfg(target_os = "linux")]
    return laws.with_census(async || files.open());
    #[cfg(not(target_os = "linux"))]
    return laws;
}

/// Creates a test of one stack, made from a new database each time.
macro_rules! stack {
    ($name:ident, |$sqlite:ident| $make:expr) => {
        #[tokio::test]
        async fn $name() {
            let files = Files::new();
            let suite = laws(|_probe| {
                let $sqlite = files.sqlite();
                $make
            });
            counted(suite.with_use(async |conn, user| ask(&mut *conn, user).await), &files).await;
        }
    };
}

stack!(connection_keeps_the_laws, |sqlite| sqlite);
stack!(write_transaction_keeps_the_laws, |sqlite| Transaction::new(Arc::new(sqlite)));
stack!(read_transaction_keeps_the_laws, |sqlite| ReadOnly::new(Arc::new(sqlite)));
stack!(transaction_over_wrapped_connection_keeps_the_laws, |sqlite| {
    Transaction::new(Arc::new(sqlite.timeout(LIMIT)))
});
stack!(pooled_connection_keeps_the_laws, |sqlite| Pool::new(sqlite));
stack!(pooled_write_transaction_keeps_the_laws, |sqlite| Transaction::new(Arc::new(Pool::new(sqlite))));
stack!(pooled_read_transaction_keeps_the_laws, |sqlite| ReadOnly::new(Arc::new(Pool::new(sqlite))));
