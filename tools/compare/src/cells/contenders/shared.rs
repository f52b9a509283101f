use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;

/// futures' [`Shared`], for one request: whoever polls a clone drives it, and gets a clone of the object.
pub(crate) struct SharedFuture;

impl LazyCell for SharedFuture {
    const TITLE: &'static str = "futures Shared";
    const PACKAGE: &'static str = "futures-util";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Shared<S::Acquire>;
    type Handle<S: Source> = Shared<S::Acquire>;
    type Loan<'a, S: Source> = S::Object;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(source: &Arc<S>) -> Shared<S::Acquire> {
        source.acquire().shared()
    }

    fn handle<S: Source>(shared: &Shared<S::Acquire>) -> &Shared<S::Acquire> {
        shared
    }

    async fn get<'a, S: Source>(_source: &'a Arc<S>, shared: &'a Shared<S::Acquire>) -> Result<S::Object, Refused> {
        Ok(shared.clone().await)
    }

    fn object<S: Source>(loan: &S::Object) -> &S::Object {
        loan
    }
}
