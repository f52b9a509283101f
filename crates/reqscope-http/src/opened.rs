use std::sync::Arc;

use http::{Request, Response};
use reqscope::context::Label;
use reqscope::{Scope, Scopes};
use tokio::time::Instant;

use crate::{Policy, RequestHead, ResponseFuture};

/// A request whose scope is open and whose handler does not run yet; returned by [`Policy::open`].
///
/// Dropping it closes the scope as `Cancelled`, or as `Panicked` while unwinding from a panic in `call`.
///
/// # Examples
///
/// The `call` of a front end:
///
/// ```
/// use std::sync::Arc;
///
/// use http::{Request, Response};
/// use reqscope::Scopes;
/// use reqscope_http::{Opened, Policy, ResponseFuture};
///
/// fn call<A, B, E, F>(
///     policy: &Arc<Policy>,
///     scopes: &Scopes,
///     mut request: Request<A>,
///     service: impl Fn(Request<A>) -> F,
/// ) -> ResponseFuture<F, B, E>
/// where
///     F: Future<Output = Result<Response<B>, E>>,
/// {
///     let opened: Opened = policy.open(scopes, &mut request);
///     opened.answer(service(request)) // a panic in the service drops `opened`
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping it closes the scope"]
pub struct Opened {
    scope: Scope,
    deadline: Option<Instant>,
    policy: Arc<Policy>,
}

impl Policy {
    /// Opens the scope of a request, with its deadline and its label, and puts its
    /// [`ScopeHandle`](reqscope::ScopeHandle) into the request's extensions.
    ///
    /// Call it in the front end's `call`, not in the first poll of a future: the future of a request whose client has
    /// disconnected may never be polled.
    pub fn open<B>(self: &Arc<Self>, scopes: &Scopes, request: &mut Request<B>) -> Opened {
        let scope = scopes.open();
        let deadline = self.deadline();
        if let Some(at) = deadline {
            scope.set_deadline(at.into_std());
        }
        if let Some(label) = self.label_of().and_then(|label| label(RequestHead::of(request))) {
            scope.set_label(label);
        }
        request.extensions_mut().insert(scope.handle().clone());
        Opened { scope, deadline, policy: Arc::clone(self) }
    }
}

impl Opened {
    /// Sets the front end's own label of the request, if the policy has no [function for labels](Policy::label). `label`
    /// is called only then.
    ///
    /// # Examples
    ///
    /// A front end that knows the route of a request before it calls the service:
    ///
    /// ```
    /// use http::{Method, Request};
    /// use reqscope::Scopes;
    /// use reqscope::context::Label;
    /// use reqscope_http::{Policy, RequestExt};
    /// use std::sync::Arc;
    ///
    /// let routes = [(Method::GET, Label::new("GET /orders/{id}"))];
    /// # let mut request = Request::new(());
    /// # let matched = 0;
    /// let opened = Arc::new(Policy::new()).open(&Scopes::new(), &mut request);
    /// opened.default_label(|| Some(routes[matched].1.clone()));
    /// assert_eq!(request.scope().label().unwrap().as_str(), "GET /orders/{id}");
    /// ```
    pub fn default_label(&self, label: impl FnOnce() -> Option<Label>) {
        if self.policy.label_of().is_none() {
            if let Some(label) = label() {
                self.scope.set_label(label);
            }
        }
    }

    /// Creates the future that runs the handler and then closes its scope.
    pub fn answer<F, B, E>(self, handler: F) -> ResponseFuture<F, B, E>
    where
        F: Future<Output = Result<Response<B>, E>>,
    {
        let Opened { scope, deadline, policy } = self;
        ResponseFuture::new(scope, deadline, policy, handler)
    }
}
