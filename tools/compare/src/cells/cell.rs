//! What every lazy cell must do.

use std::future::Future;
use std::sync::Arc;

use reqscope::Exit;

use super::source::Source;
use crate::backend::Refused;
use crate::contender::NotOffered;

/// A way to give one request one handle, which is acquired on first use.
pub(crate) trait LazyCell: 'static {
    /// Its name in the tables.
    const TITLE: &'static str;

    /// The package it comes from.
    const PACKAGE: &'static str;

    /// What a server has.
    type Server<S: Source>: Send + Sync + 'static;

    /// What a request has, and drops at its end.
    type Request<S: Source>: Send + 'static;

    /// What the functions of a request and the tasks that they spawn have.
    type Cell<S: Source>: Clone + Send + Sync + 'static;

    /// A handle in use.
    type Loan<'a, S: Source>: Send;

    /// Creates a server.
    fn serve<S: Source>(source: Arc<S>) -> Self::Server<S>;

    /// Begins a request.
    fn open<S: Source>(server: &Self::Server<S>) -> Self::Request<S>;

    /// Returns the cell of a request.
    fn cell<S: Source>(request: &Self::Request<S>) -> &Self::Cell<S>;

    /// Returns the handle. The first caller acquires it.
    fn get<'a, S: Source>(
        server: &'a Self::Server<S>,
        cell: &'a Self::Cell<S>,
    ) -> impl Future<Output = Result<Self::Loan<'a, S>, Refused>> + Send;

    /// Returns the handle of a loan.
    fn handle<'a, S: Source>(loan: &'a Self::Loan<'_, S>) -> &'a S::Handle;

    /// Returns `Ok` if the release is passed how the request ended.
    fn passes_exit() -> Result<(), NotOffered> {
        Err(NotOffered)
    }

    /// Ends the request.
    fn end<S: Source>(request: Self::Request<S>, exit: Exit) -> impl Future<Output = ()> + Send {
        let _exit = exit;
        drop(request);
        std::future::ready(())
    }
}
