//! The storm's paths on plain hyper: one service around the handlers, and one that routes by hand.
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use reqscope_hyper::{RequestExt, ScopeService};

use crate::server::accounting::Ledger;
use crate::server::control::Questions;
use crate::server::handlers::{Body, Cells, Handlers, respond};
use crate::server::stage::Progress;
use crate::store::Store;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The paths that have a scope.
struct Scoped<S> {
    handlers: Arc<Handlers<S>>,
    ledger: Arc<Ledger>,
}

impl<S: Store> Service<Request<Incoming>> for Scoped<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        // Here and not in the future, which may be dropped before it is polled.
        let progress = Progress::begin(self.ledger.books());
        let handlers = Arc::clone(&self.handlers);
        Box::pin(async move {
            let (scope, store) = (request.scope(), &handlers.store);
            let cells = Cells { single: scope.lazy(store.singles()), transaction: scope.lazy(store.transactions()) };
            Ok(handlers.answer(request.uri().path(), cells, progress).await)
        })
    }
}

/// All paths: those that have no scope are answered here.
pub(crate) struct HyperStack<S> {
    questions: Questions<S>,
    scoped: ScopeService<Scoped<S>>,
}

impl<S> HyperStack<S> {
    pub(crate) fn new(questions: Questions<S>) -> Self {
        let scoped = Scoped { handlers: Arc::clone(&questions.handlers), ledger: Arc::clone(&questions.ledger) };
        HyperStack { scoped: ScopeService::new(&questions.scopes, scoped), questions }
    }
}

impl<S: Store> Service<Request<Incoming>> for HyperStack<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (method, path) if Questions::<S>::has(method, path) => {
                let questions = self.questions.clone();
                Box::pin(async move { Ok(questions.answer(request.uri().path()).await) })
            }
            (&Method::GET, "/bare") => {
                let progress = Progress::begin(self.questions.ledger.books());
                Box::pin(async move {
                    progress.done(true);
                    Ok(respond(StatusCode::OK, "bare"))
                })
            }
            (&Method::GET, _) => {
                let response = self.scoped.call(request);
                Box::pin(async move { Ok(response.await?.map(BodyExt::boxed_unsync)) })
            }
            _ => Box::pin(async { Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "not this way")) }),
        }
    }
}

impl<S> Clone for HyperStack<S> {
    fn clone(&self) -> Self {
        HyperStack { questions: self.questions.clone(), scoped: self.scoped.clone() }
    }
}

impl<S> Clone for Scoped<S> {
    fn clone(&self) -> Self {
        Scoped { handlers: Arc::clone(&self.handlers), ledger: Arc::clone(&self.ledger) }
    }
}
