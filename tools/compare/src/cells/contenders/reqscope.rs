use std::convert::Infallible;
use std::sync::Arc;

use ::reqscope::{Error, Exit, Guard, Health, Resource, Scope, ScopeHandle, Scopes};

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;
use crate::contender::NotOffered;

/// A scope for each request, with its defaults.
pub(crate) struct Scoped;

pub(crate) struct Server<S> {
    scopes: Scopes,
    resource: Arc<Adapter<S>>,
}

/// The source as a resource.
pub(crate) struct Adapter<S>(Arc<S>);

impl<S: Source> Resource for Adapter<S> {
    type Handle = S::Handle;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<S::Handle, Error<Infallible>> {
        Ok(self.0.acquire().await)
    }

    async fn release(&self, handle: S::Handle, exit: Exit) -> Result<(), Error<Infallible>> {
        self.0.release(handle, exit).await;
        Ok(())
    }

    fn try_acquire(&self) -> Option<S::Handle> {
        self.0.at_hand()
    }

    fn probe(&self, _object: &S::Handle) -> Health {
        Health::Ready
    }

    fn reclaim(&self, handle: S::Handle, exit: Exit) -> Result<(), S::Handle> {
        self.0.reclaim(handle, exit)
    }
}

impl LazyCell for Scoped {
    const TITLE: &'static str = "reqscope, a scope";
    const PACKAGE: &'static str = "reqscope";

    type Server<S: Source> = Server<S>;
    type Request<S: Source> = Scope;
    type Cell<S: Source> = ScopeHandle;
    type Loan<'a, S: Source> = Guard<Adapter<S>>;

    fn serve<S: Source>(source: Arc<S>) -> Server<S> {
        Server { scopes: Scopes::new(), resource: Arc::new(Adapter(source)) }
    }

    fn open<S: Source>(server: &Server<S>) -> Scope {
        server.scopes.open()
    }

    fn cell<S: Source>(scope: &Scope) -> &ScopeHandle {
        scope.handle()
    }

    async fn get<'a, S: Source>(server: &'a Server<S>, scope: &'a ScopeHandle) -> Result<Guard<Adapter<S>>, Refused> {
        scope.lazy(&server.resource).get().await.map_err(Refused::by)
    }

    fn handle<S: Source>(loan: &Guard<Adapter<S>>) -> &S::Handle {
        loan
    }

    fn passes_exit() -> Result<(), NotOffered> {
        Ok(())
    }

    async fn end<S: Source>(scope: Scope, exit: Exit) {
        scope.close(exit).await.expect("nothing settles here");
    }
}
