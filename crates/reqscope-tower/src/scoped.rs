use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use reqscope::{Lazy, Resource, ScopeHandle};
use reqscope_http::RequestExt;

use crate::ScopeError;

/// Extracts the request's [`Lazy`] handle of a resource in the router's state.
///
/// Extracting it acquires nothing. The first [`get`](Lazy::get) of the request acquires the handle, and every handler
/// and middleware of the request that extracts it shares that one handle. The handle is released when the handler has
/// returned, panicked or exceeded its timeout, or its client has disconnected. A COMMIT is awaited before the head of
/// the response is sent.
///
/// The state is an `Arc<R>`, or has a field of that type and derives axum's `FromRef` (axum's feature `macros`). Create
/// the `Arc` once: a `FromRef` that creates a new one for each request creates a new resource for each, with a
/// [pool](reqscope::Pool) of its own, and handlers and middlewares of a request share no handle. This mistake is reported
/// to the observer ([`second_resource`](reqscope::Observer::second_resource)).
///
/// `Option<Scoped<R>>` is `None` if no layer has opened a scope.
///
/// # Errors
///
/// Rejects with a [`ScopeError`] if the [`ScopeLayer`](crate::ScopeLayer) is missing.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use axum::extract::FromRef;
/// use axum::routing::post;
/// use reqscope::{Pool, Scopes};
/// use reqscope_sqlite::{Sqlite, Transaction};
/// use reqscope_tower::{ScopeError, ScopeLayer, Scoped};
///
/// type Db = Transaction<Pool<Sqlite>>;
///
/// #[derive(Clone)]
/// struct App {
///     db: Arc<Db>,
/// }
///
/// impl FromRef<App> for Arc<Db> {
///     fn from_ref(app: &App) -> Self {
///         app.db.clone() // the app's `Arc`, not a new one
///     }
/// }
///
/// async fn order(Scoped(tx): Scoped<Db>) -> Result<(), ScopeError> {
///     let mut tx = tx.get().await?; // first use: a connection, and BEGIN
///     tx.call(|db| db.execute("INSERT INTO orders DEFAULT VALUES", ())).await?;
///     Ok(()) // COMMIT, then the head
/// }
///
/// let pool = Arc::new(Pool::builder().max_size(10).build(Sqlite::new("orders.db")));
/// let app = App { db: Arc::new(Transaction::new(pool)) };
/// let app: Router = Router::new().route("/", post(order)).layer(ScopeLayer::new(&Scopes::new())).with_state(app);
/// ```
///
/// # Two databases of one type
///
/// The resource is found by its type, so the second database needs a type of its own: that of the first one with a
/// [tag](reqscope::wrap::Tagged).
///
/// ```
/// # use axum::extract::FromRef;
/// # use reqscope::Pool;
/// use std::sync::Arc;
///
/// use reqscope::ResourceExt;
/// use reqscope::wrap::Tagged;
/// use reqscope_sqlite::{Sqlite, Transaction};
/// use reqscope_tower::{ScopeError, Scoped};
///
/// type Db = Transaction<Sqlite>;
/// type AuditDb = Tagged<Db, Audit>;
///
/// enum Audit {} // only a name
///
/// #[derive(Clone)]
/// struct App {
///     db: Arc<Db>,
///     audit: Arc<AuditDb>,
/// }
/// # impl FromRef<App> for Arc<Db> {
/// #     fn from_ref(app: &App) -> Self { app.db.clone() }
/// # }
/// # impl FromRef<App> for Arc<AuditDb> {
/// #     fn from_ref(app: &App) -> Self { app.audit.clone() }
/// # }
///
/// let app = App {
///     db: Arc::new(Transaction::new(Arc::new(Sqlite::new("orders.db")))),
///     audit: Arc::new(Transaction::new(Arc::new(Sqlite::new("audit.db"))).tagged()),
/// };
///
/// async fn order(Scoped(db): Scoped<Db>, Scoped(audit): Scoped<AuditDb>) -> Result<(), ScopeError> {
///     let (db, audit) = (db.get().await?, audit.get().await?); // two transactions
///     // ...
/// #   drop((db, audit));
///     Ok(())
/// }
/// # let app: axum::Router = axum::Router::new().route("/", axum::routing::post(order)).with_state(app);
/// # drop(app);
/// ```
///
/// A single handler can use [`RequestScope`](crate::RequestScope) instead: `scope.lazy(&app.audit).get().await?`.
pub struct Scoped<R: Resource>(pub Lazy<R>);

impl<R: Resource> Scoped<R> {
    /// Finds the resource in the state and returns its lazy handle in `scope`.
    fn of<S>(scope: &ScopeHandle, state: &S) -> Self
    where
        Arc<R>: FromRef<S>,
    {
        let resource = Arc::from_ref(state);
        // A count of 1 means that the state keeps no clone of this `Arc`: `FromRef` has just created it. The scope
        // reports a second `Arc` of one type, so it is shown another one here, from which nothing is acquired.
        if Arc::strong_count(&resource) == 1 {
            drop(scope.lazy(&Arc::<R>::from_ref(state)));
        }
        Scoped(scope.lazy(&resource))
    }
}

impl<R: Resource> Deref for Scoped<R> {
    type Target = Lazy<R>;

    fn deref(&self) -> &Lazy<R> {
        &self.0
    }
}

impl<S, R> FromRequestParts<S> for Scoped<R>
where
    R: Resource,
    Arc<R>: FromRef<S>,
    S: Sync,
{
    type Rejection = ScopeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ScopeError> {
        Ok(Scoped::of(parts.try_scope()?, state))
    }
}

impl<S, R> OptionalFromRequestParts<S> for Scoped<R>
where
    R: Resource,
    Arc<R>: FromRef<S>,
    S: Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.try_scope().ok().map(|scope| Scoped::of(scope, state)))
    }
}

impl<R: Resource> Clone for Scoped<R> {
    fn clone(&self) -> Self {
        Scoped(self.0.clone())
    }
}

impl<R: Resource> fmt::Debug for Scoped<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoped").field(&self.0).finish()
    }
}
