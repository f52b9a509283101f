use std::sync::Arc;

use ::async_once_cell::Lazy;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;

/// async-once-cell's [`Lazy`] in an [`Arc`], for one request. It continues where a dropped caller left off.
pub(crate) struct ArcLazy;

impl LazyCell for ArcLazy {
    const TITLE: &'static str = "async-once-cell Lazy";
    const PACKAGE: &'static str = "async-once-cell";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Arc<Lazy<S::Handle, S::Acquire>>;
    type Cell<S: Source> = Arc<Lazy<S::Handle, S::Acquire>>;
    type Loan<'a, S: Source> = &'a S::Handle;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(source: &Arc<S>) -> Self::Request<S> {
        Arc::new(Lazy::new(source.acquire()))
    }

    fn cell<S: Source>(cell: &Self::Request<S>) -> &Self::Cell<S> {
        cell
    }

    async fn get<'a, S: Source>(_source: &'a Arc<S>, cell: &'a Self::Cell<S>) -> Result<&'a S::Handle, Refused> {
        Ok(cell.get_unpin().await)
    }

    fn handle<'a, S: Source>(loan: &'a &S::Handle) -> &'a S::Handle {
        loan
    }
}
