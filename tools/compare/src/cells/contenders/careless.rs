use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;
use tokio::sync::oneshot;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;
use crate::contender::NotOffered;

/// A cell that every script must fail even if all real ones pass. Each caller acquires a handle of its own, in a task
/// that is never cancelled; a handle that arrives after its caller has left is lost; and handles are released as
/// `Completed` at once, even if a task still uses them.
pub(crate) struct Careless;

pub(crate) struct Request<S: Source>(Cell<S>);

pub(crate) struct Cell<S: Source> {
    source: Arc<S>,
    handle: Arc<Mutex<Option<S::Handle>>>,
}

impl<S: Source> Clone for Cell<S> {
    fn clone(&self) -> Self {
        Cell { source: Arc::clone(&self.source), handle: Arc::clone(&self.handle) }
    }
}

impl<S: Source> Drop for Request<S> {
    fn drop(&mut self) {
        let (source, handle) = (Arc::clone(&self.0.source), self.0.handle.lock().clone());
        if let Some(handle) = handle {
            tokio::spawn(async move { source.release(handle, Exit::Completed).await });
        }
    }
}

impl LazyCell for Careless {
    const TITLE: &'static str = "careless";
    const PACKAGE: &'static str = "none";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Request<S>;
    type Cell<S: Source> = Cell<S>;
    type Loan<'a, S: Source> = S::Handle;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(source: &Arc<S>) -> Request<S> {
        Request(Cell { source: Arc::clone(source), handle: Arc::default() })
    }

    fn cell<S: Source>(request: &Request<S>) -> &Cell<S> {
        &request.0
    }

    async fn get<'a, S: Source>(source: &'a Arc<S>, cell: &'a Cell<S>) -> Result<S::Handle, Refused> {
        let (acquisition, (sender, receiver)) = (source.acquire(), oneshot::channel());
        tokio::spawn(async move {
            if let Err(handle) = sender.send(acquisition.await) {
                std::mem::forget(handle);
            }
        });
        let handle = receiver.await.map_err(Refused::by)?;
        *cell.handle.lock() = Some(handle.clone());
        Ok(handle)
    }

    fn handle<S: Source>(loan: &S::Handle) -> &S::Handle {
        loan
    }

    fn passes_exit() -> Result<(), NotOffered> {
        Ok(())
    }
}
