use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;
use tokio::sync::oneshot;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;
use crate::contender::NotOffered;

/// What no script may let pass, even if all the real ones pass it: each user acquires for himself, in a task that nobody
/// stops; what arrives when he has left is lost; and the source hears at once, whoever still works with the object, that
/// all went well.
pub(crate) struct Careless;

pub(crate) struct Request<S: Source>(Handle<S>);

pub(crate) struct Handle<S: Source> {
    source: Arc<S>,
    object: Arc<Mutex<Option<S::Object>>>,
}

impl<S: Source> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Handle { source: Arc::clone(&self.source), object: Arc::clone(&self.object) }
    }
}

impl<S: Source> Drop for Request<S> {
    fn drop(&mut self) {
        let (source, object) = (Arc::clone(&self.0.source), self.0.object.lock().clone());
        if let Some(object) = object {
            tokio::spawn(async move { source.release(object, Exit::Completed).await });
        }
    }
}

impl LazyCell for Careless {
    const TITLE: &'static str = "careless";
    const PACKAGE: &'static str = "none";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Request<S>;
    type Handle<S: Source> = Handle<S>;
    type Loan<'a, S: Source> = S::Object;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(source: &Arc<S>) -> Request<S> {
        Request(Handle { source: Arc::clone(source), object: Arc::default() })
    }

    fn handle<S: Source>(request: &Request<S>) -> &Handle<S> {
        &request.0
    }

    async fn get<'a, S: Source>(source: &'a Arc<S>, handle: &'a Handle<S>) -> Result<S::Object, Refused> {
        let (acquisition, (brings, brought)) = (source.acquire(), oneshot::channel());
        tokio::spawn(async move {
            if let Err(object) = brings.send(acquisition.await) {
                std::mem::forget(object);
            }
        });
        let object = brought.await.map_err(Refused::by)?;
        *handle.object.lock() = Some(object.clone());
        Ok(object)
    }

    fn object<S: Source>(loan: &S::Object) -> &S::Object {
        loan
    }

    fn tells() -> Result<(), NotOffered> {
        Ok(())
    }
}
