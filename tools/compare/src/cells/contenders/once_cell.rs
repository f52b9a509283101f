use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::backend::Refused;
use crate::cells::cell::LazyCell;
use crate::cells::source::Source;

/// [`OnceCell`] in an [`Arc`], for one request.
pub(crate) struct ArcOnceCell;

impl LazyCell for ArcOnceCell {
    const TITLE: &'static str = "tokio OnceCell";
    const PACKAGE: &'static str = "tokio";

    type Server<S: Source> = Arc<S>;
    type Request<S: Source> = Arc<OnceCell<S::Handle>>;
    type Cell<S: Source> = Arc<OnceCell<S::Handle>>;
    type Loan<'a, S: Source> = &'a S::Handle;

    fn serve<S: Source>(source: Arc<S>) -> Arc<S> {
        source
    }

    fn open<S: Source>(_source: &Arc<S>) -> Self::Request<S> {
        Arc::new(OnceCell::new())
    }

    fn cell<S: Source>(cell: &Self::Request<S>) -> &Self::Cell<S> {
        cell
    }

    async fn get<'a, S: Source>(source: &'a Arc<S>, cell: &'a Self::Cell<S>) -> Result<&'a S::Handle, Refused> {
        Ok(cell.get_or_init(|| source.acquire()).await)
    }

    fn handle<'a, S: Source>(loan: &'a &S::Handle) -> &'a S::Handle {
        loan
    }
}
