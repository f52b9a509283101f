//! A resource of your own: a report file that is kept if its request succeeds, and removed if not.
//!
//! ```text
//! cargo run --example own_resource
//! ```
use std::fs::read_to_string;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Exit, Lazy, Resource, Scopes};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// Creates the files. There is one for the whole server.
struct Reports {
    folder: PathBuf,
}

impl Resource for Reports {
    /// A file that is removed when it is dropped: whatever happens to the request, nothing is left behind.
    type Handle = NamedTempFile;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<NamedTempFile, Error<io::Error>> {
        // There is no `.await` at which this could be dropped with a half-made file.
        Ok(NamedTempFile::new_in(&self.folder)?)
    }

    async fn release(&self, mut file: NamedTempFile, exit: Exit) -> Result<(), Error<io::Error>> {
        let name = self.folder.join("report.txt");
        // Both arms block. The closure owns the file, and runs to its end even if this future is dropped.
        let done = spawn_blocking(move || match exit {
            Exit::Completed => {
                file.flush()?;
                file.as_file().sync_all()?;
                file.persist(name)?;
                Ok(())
            }
            // Failed, Cancelled, Panicked: the report is incomplete.
            _ => file.close(),
        });
        Ok(done.await.map_err(io::Error::other)??)
    }

    /// Makes the response wait for a completed release. The client gets an error if that fails.
    fn settles(&self, exit: Exit) -> bool {
        exit.is_completed()
    }
}

/// Writes a line, as a handler would. All that a request calls writes to the same file.
async fn write(report: &Lazy<Reports>, line: &str) -> Result<(), Error<io::Error>> {
    let mut file = report.get().await?;
    Ok(writeln!(file, "{line}")?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let reports = Arc::new(Reports { folder: folder.path().into() });
    let scopes = Scopes::new();

    println!("A request is cut in the middle:");
    let request = scopes.open();
    write(&request.lazy(&reports), "half a report").await?;
    println!("  while it runs: {} file", count(&reports)?);
    // When the client hangs up, a front end drops the request's future, and the scope with it.
    drop(request);
    scopes.drain(Duration::from_secs(1)).await;
    println!("  afterwards: {} files", count(&reports)?);

    println!("A request succeeds:");
    let request = scopes.open();
    let report = request.lazy(&reports);
    write(&report, "the first half").await?;
    write(&report, "the second half").await?;
    request.close(Exit::Completed).await?;
    println!("  afterwards: {} file\n{}", count(&reports)?, read_to_string(folder.path().join("report.txt"))?);
    Ok(())
}

/// Counts the files in the folder.
fn count(reports: &Reports) -> io::Result<usize> {
    Ok(reports.folder.read_dir()?.count())
}
