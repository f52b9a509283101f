//! A request that asks a pool of one twice: through one cell it gets the same handle, through two cells it waits for
//! itself, and its error names the line where it took the first handle.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Scopes};
use reqscope_testkit::Probe;

use super::rig::{Around, Rig};
use crate::support::bounded;

fn rig() -> Rig {
    Rig::configured(Probe::new(), |builder| builder.max_size(1).acquire_timeout(Duration::from_secs(2)))
}

#[tokio::test(start_paused = true)]
async fn request_asking_twice_gets_the_same_handle() {
    let (rig, scope) = (rig(), Scopes::new().open());
    let lazy = scope.lazy(&rig.pool);
    let first = lazy.get().await.unwrap().id();
    assert_eq!(lazy.get().await.unwrap().id(), first);
    scope.close(Exit::Completed).await.unwrap();
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn request_waiting_for_itself_gets_the_line_of_its_handle() {
    let (rig, scope) = (rig(), Scopes::new().open());
    let transactions = Arc::new(Around(Arc::clone(&rig.pool)));
    let (get, line) = (scope.lazy(&transactions).get(), line!());
    let transaction = get.await.unwrap();
    let error = bounded(scope.lazy(&rig.pool).get()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let own = error.shortage().unwrap().own.expect("the request holds one itself");
    assert_eq!((own.file(), own.line()), (file!(), line));
    drop(transaction);
    scope.close(Exit::Completed).await.unwrap();
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn wrapper_waiting_for_its_own_request_gets_the_line() {
    let (rig, scope) = (rig(), Scopes::new().open());
    let transactions = Arc::new(Around(Arc::clone(&rig.pool)));
    let direct = scope.lazy(&rig.pool).get().await.unwrap();
    let error = bounded(scope.lazy(&transactions).get()).await.unwrap_err();
    assert_eq!(error.shortage().unwrap().own.map(std::panic::Location::file), Some(file!()));
    drop(direct);
    scope.close(Exit::Completed).await.unwrap();
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn waiter_for_another_request_is_not_blamed() {
    let (rig, scopes) = (rig(), Scopes::new());
    let (other, scope) = (scopes.open(), scopes.open());
    let held = other.lazy(&rig.pool).get().await.unwrap();
    let error = bounded(scope.lazy(&rig.pool).get()).await.unwrap_err();
    assert!(error.is_timeout() && error.shortage().unwrap().own.is_none(), "{error}");
    drop(held);
    for scope in [other, scope] {
        scope.close(Exit::Completed).await.unwrap();
    }
    rig.finish(0).await;
}
