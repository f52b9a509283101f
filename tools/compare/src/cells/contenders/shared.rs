use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;

/// futures' [`Shared`], for one request: each caller polls a clone, and gets a clone of the handle.
pub(crate) struct SharedFuture;

impl LazyCell for SharedFuture {
    const TITLE: &'static str = "futures Shared";
    const PACKAGE: &'static str = "futures-util";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Shared<S::Acquire>;
    type Cell<S: Source> = Shared<S::Acquire>;
    type Loan<'a, S: Source> = S::Handle;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(source: &Arc<S>) -> Shared<S::Acquire> {
        source.acquire().shared()
    }

    fn cell<S: Source>(shared: &Shared<S::Acquire>) -> &Shared<S::Acquire> {
        shared
    }

    async fn get<'a, S: Source>(_source: &'a Arc<S>, shared: &'a Shared<S::Acquire>) -> Result<S::Handle, Refused> {
        Ok(shared.clone().await)
    }

    fn handle<S: Source>(loan: &S::Handle) -> &S::Handle {
        loan
    }
}
