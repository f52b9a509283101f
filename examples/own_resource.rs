//! A resource of your own: a report that is in its folder when its request has succeeded, and nowhere when it has not.
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

/// The maker of the files: one for the whole server.
struct Reports {
    folder: PathBuf,
}

impl Resource for Reports {
    /// A file that removes itself when it is dropped: whatever happens to the request, nothing is left behind.
    type Handle = NamedTempFile;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<NamedTempFile, Error<io::Error>> {
        // There is no `.await` at which this could be dropped with a half-made file.
        Ok(NamedTempFile::new_in(&self.folder)?)
    }

    async fn release(&self, mut file: NamedTempFile, exit: Exit) -> Result<(), Error<io::Error>> {
        let name = self.folder.join("report.txt");
        // Both block. The closure owns the file, and runs to its end even if nobody waits for it.
        let done = spawn_blocking(move || match exit {
            Exit::Completed => {
                file.flush()?;
                file.as_file().sync_all()?;
                file.persist(name)?;
                Ok(())
            }
            // Failed, Cancelled, Panicked: nobody wants half a report.
            _ => file.close(),
        });
        Ok(done.await.map_err(io::Error::other)??)
    }

    /// The answer to the client waits for a completed release, and is an error if that fails.
    fn settles(&self, exit: Exit) -> bool {
        exit.is_completed()
    }
}

/// A handler, or anything that it calls: all of them write to the same file.
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
    // What a front end does when the client hangs up: it drops the request's future, and the scope with it.
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

fn count(reports: &Reports) -> io::Result<usize> {
    Ok(reports.folder.read_dir()?.count())
}
