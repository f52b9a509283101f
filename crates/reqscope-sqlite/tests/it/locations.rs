//! Events and messages name a line of code of the caller, and never one of these crates.
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqscope::context::AcquireContext;
use reqscope::observer::Subject;
use reqscope::{Error, Exit, Lease, Observer, Pool, Reaper, Resource, ResourceExt, Scopes};
use reqscope_sqlite::{ReadOnly, Sqlite, SqliteConn, SqliteError, Transaction};

use crate::support::with_table;

/// The lines of code that are reported, with what they are of.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(&'static str, &'static Location<'static>)>>>);

impl Lines {
    fn add(&self, what: &'static str, at: &'static Location<'static>) {
        self.0.lock().unwrap().push((what, at));
    }

    /// Panics if there are no lines, or if one is not of this file.
    fn are_of_this_file(&self, what: &str) {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(!lines.is_empty(), "{what} has reported nothing");
        for (of, at) in lines {
            assert_eq!(at.file(), file!(), "{what}: {of} is reported at {at}");
        }
    }
}

impl Observer for Lines {
    fn acquired(&self, of: Subject, _waited: Duration) {
        self.add("an acquisition", of.taken_at);
    }

    fn acquire_failed(&self, of: Subject, _error: &(dyn std::error::Error + 'static)) {
        self.add("a failed acquisition", of.taken_at);
    }

    fn released(&self, of: Subject, _exit: Exit) {
        self.add("a release", of.taken_at);
    }
}

/// Connections that report the line of code that acquires each.
struct Witness(Sqlite, Lines);

impl Resource for Witness {
    type Handle = SqliteConn;
    type Cause = SqliteError;

    async fn acquire(&self) -> Result<SqliteConn, Error<SqliteError>> {
        let context = AcquireContext::current().expect("a lease or a scope acquires it");
        self.1.add("a connection", context.taken_at());
        self.0.acquire().await
    }
}

#[tokio::test]
async fn every_acquisition_is_reported_at_the_line_of_its_caller() {
    let lines = Lines::default();
    let sqlite = Sqlite::temporary().unwrap();
    let connections = Arc::new(Witness(sqlite, lines.clone()));
    let reaper = Reaper::builder().observer(lines.clone()).build();
    let scopes = Scopes::builder().observer(lines.clone()).build();
    macro_rules! each_way {
        ($tx:expr) => {
            let tx = Arc::new($tx);
            drop(tx.acquire().await.unwrap());
            lines.are_of_this_file("acquire");
            Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap();
            lines.are_of_this_file("Lease::acquire");
            Lease::complete(Lease::acquire_in(&reaper, &tx).await.unwrap()).await.unwrap();
            lines.are_of_this_file("Lease::acquire_in");
            let scope = scopes.open();
            drop(scope.lazy(&tx).get().await.unwrap());
            scope.close(Exit::Completed).await.unwrap();
            lines.are_of_this_file("Lazy::get");
        };
    }
    each_way!(Transaction::new(connections.clone()));
    each_way!(ReadOnly::new(connections.clone()));
    let wrapped = Arc::new(Transaction::new(connections).timeout(Duration::from_secs(60)));
    Lease::complete(Lease::acquire_in(&reaper, &wrapped).await.unwrap()).await.unwrap();
    lines.are_of_this_file("a wrapped transaction");
}

/// The only handle is held, so each message names who holds it.
#[tokio::test]
async fn every_holder_in_a_message_is_the_line_of_its_caller() {
    let sqlite = with_table().build_temporary().unwrap();
    let pool = Arc::new(Pool::builder().max_size(1).acquire_timeout(Duration::from_secs(20)).build(sqlite));
    let tx = Arc::new(ReadOnly::new(pool.clone()));
    let holder_is_here = async |what: &str| {
        tokio::time::pause(); // and so the timeout passes at once
        let error = pool.get().await.map(drop).unwrap_err();
        tokio::time::resume();
        let holder = error.shortage().and_then(|shortage| shortage.oldest.clone()).expect("it names the holder");
        assert_eq!(holder.taken_at.file(), file!(), "{what}");
    };
    let pooled = pool.get().await.unwrap();
    holder_is_here("Pool::get").await;
    pool.put(pooled);
    let direct = tx.acquire().await.unwrap();
    holder_is_here("Transaction::acquire").await;
    tx.release(direct, Exit::Completed).await.unwrap();
    let lease = Lease::acquire(&tx).await.unwrap();
    holder_is_here("Lease::acquire").await;
    Lease::complete(lease).await.unwrap();
}
