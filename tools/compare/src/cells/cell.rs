//! What every lazy cell is asked to do.

use std::future::Future;
use std::sync::Arc;

use reqscope::Exit;

use super::source::Source;
use crate::backend::Refused;
use crate::contender::NotOffered;

/// A way to give one request one object, acquired when it is first used.
pub(crate) trait LazyCell: 'static {
    /// What tables call it.
    const TITLE: &'static str;

    /// The package it comes from.
    const PACKAGE: &'static str;

    /// What a server has once.
    type Server<S: Source>: Send + Sync + 'static;

    /// What a request has, and what ends with it.
    type Request<S: Source>: Send + 'static;

    /// What the functions of a request are given, and the tasks that they spawn.
    type Handle<S: Source>: Clone + Send + Sync + 'static;

    /// The object in use.
    type Loan<'a, S: Source>: Send;

    fn serve<S: Source>(source: Arc<S>) -> Self::Server<S>;

    fn open<S: Source>(server: &Self::Server<S>) -> Self::Request<S>;

    fn handle<S: Source>(request: &Self::Request<S>) -> &Self::Handle<S>;

    /// The object; the first one who asks acquires it.
    fn get<'a, S: Source>(
        server: &'a Self::Server<S>,
        handle: &'a Self::Handle<S>,
    ) -> impl Future<Output = Result<Self::Loan<'a, S>, Refused>> + Send;

    fn object<'a, S: Source>(loan: &'a Self::Loan<'_, S>) -> &'a S::Object;

    /// Whether somebody is told how the request ended.
    fn tells() -> Result<(), NotOffered> {
        Err(NotOffered)
    }

    /// Ends the request.
    fn end<S: Source>(request: Self::Request<S>, exit: Exit) -> impl Future<Output = ()> + Send {
        let _exit = exit;
        drop(request);
        std::future::ready(())
    }
}
