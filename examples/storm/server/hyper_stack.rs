//! The storm's paths on plain hyper: a service with a scope around the handlers, and one around it that routes.
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use reqscope_hyper::{RequestExt, ScopeService};

use crate::server::accounting::Accounting;
use crate::server::control::Control;
use crate::server::handlers::{Body, Cells, Handlers, respond};
use crate::server::progress::Progress;
use crate::store::Store;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The service for the paths that have a scope.
struct ScopedService<S> {
    handlers: Arc<Handlers<S>>,
    accounting: Arc<Accounting>,
}

impl<S: Store> Service<Request<Incoming>> for ScopedService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        // In `call`, not in the future, which may be dropped before it is polled.
        let progress = Progress::begin(self.accounting.counters());
        let handlers = Arc::clone(&self.handlers);
        Box::pin(async move {
            let (scope, store) = (request.scope(), &handlers.store);
            let cells = Cells { single: scope.lazy(store.singles()), transaction: scope.lazy(store.transactions()) };
            Ok(handlers.answer(request.uri().path(), cells, progress).await)
        })
    }
}

/// The service for all paths. It answers those that have no scope itself.
pub(crate) struct HyperStack<S> {
    control: Control<S>,
    scoped: ScopeService<ScopedService<S>>,
}

impl<S> HyperStack<S> {
    pub(crate) fn new(control: Control<S>) -> Self {
        let scoped =
            ScopedService { handlers: Arc::clone(&control.handlers), accounting: Arc::clone(&control.accounting) };
        HyperStack { scoped: ScopeService::new(&control.scopes, scoped), control }
    }
}

impl<S: Store> Service<Request<Incoming>> for HyperStack<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (method, path) if Control::<S>::has(method, path) => {
                let control = self.control.clone();
                Box::pin(async move { Ok(control.answer(request.uri().path()).await) })
            }
            (&Method::GET, "/bare") => {
                let progress = Progress::begin(self.control.accounting.counters());
                Box::pin(async move {
                    progress.done(true);
                    Ok(respond(StatusCode::OK, "bare"))
                })
            }
            (&Method::GET, _) => {
                let response = self.scoped.call(request);
                Box::pin(async move { Ok(response.await?.map(BodyExt::boxed_unsync)) })
            }
            _ => Box::pin(async { Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")) }),
        }
    }
}

impl<S> Clone for HyperStack<S> {
    fn clone(&self) -> Self {
        HyperStack { control: self.control.clone(), scoped: self.scoped.clone() }
    }
}

impl<S> Clone for ScopedService<S> {
    fn clone(&self) -> Self {
        ScopedService { handlers: Arc::clone(&self.handlers), accounting: Arc::clone(&self.accounting) }
    }
}
