use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use reqscope::{Lazy, Resource, ScopeHandle};
use reqscope_http::RequestExt;

use crate::ScopeError;

/// An extractor for what the request has of a resource in the router's state: its lazy cell.
///
/// Extracting it acquires nothing. The first [`get`](Lazy::get) of the request does, and every function and middleware
/// of the request that extracts it shares that one handle. It goes back when the handler has returned, panicked, run
/// out of time or lost its client; a COMMIT is awaited before the head is sent.
///
/// The state has it as an `Arc<R>`: it is that `Arc`, or has a field of that type and derives axum's `FromRef`. Make the
/// `Arc` once: a `FromRef` that makes a new one for each request makes a new resource for each, with a
/// [pool](reqscope::Pool) of its own, and no two functions of a request share a handle. The observer hears of it
/// ([`second_resource`](reqscope::Observer::second_resource)).
///
/// `Option<Scoped<R>>` is `None` where no layer has opened a scope.
///
/// # Errors
///
/// A [`ScopeError`], where the [`ScopeLayer`](crate::ScopeLayer) is missing.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use axum::extract::FromRef;
/// use axum::routing::post;
/// use reqscope::{Error, Pool, Scopes};
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
///         app.db.clone() // the one that the app has, not a new one
///     }
/// }
///
/// async fn order(Scoped(tx): Scoped<Db>) -> Result<(), ScopeError> {
///     let mut tx = tx.get().await?; // first use: a connection, and BEGIN
///     tx.call(|db| db.execute("INSERT INTO orders DEFAULT VALUES", ())).await.map_err(Error::failed)?;
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
/// The state is asked by type, so the second one needs a type of its own: a newtype that is a resource too. Forward
/// **every** verb. Each has a default, and the default of `settles` is to answer before the COMMIT.
///
/// ```
/// use reqscope::{Error, Exit, Health, Resource};
/// use reqscope_sqlite::{OpenTransaction, Sqlite, SqliteError, Transaction};
///
/// struct Audit(Transaction<Sqlite>);
///
/// impl Resource for Audit {
///     type Handle = OpenTransaction<Sqlite>;
///     type Cause = SqliteError;
///
///     async fn acquire(&self) -> Result<Self::Handle, Error<SqliteError>> {
///         self.0.acquire().await
///     }
///
///     async fn validate(&self, handle: &mut Self::Handle) -> Result<(), Error<SqliteError>> {
///         self.0.validate(handle).await
///     }
///
///     async fn release(&self, handle: Self::Handle, exit: Exit) -> Result<(), Error<SqliteError>> {
///         self.0.release(handle, exit).await
///     }
///
///     fn try_acquire(&self) -> Option<Self::Handle> {
///         self.0.try_acquire()
///     }
///
///     fn probe(&self, handle: &Self::Handle) -> Health {
///         self.0.probe(handle)
///     }
///
///     fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
///         self.0.reclaim(handle, exit)
///     }
///
///     fn settles(&self, exit: Exit) -> bool {
///         self.0.settles(exit)
///     }
/// }
/// ```
///
/// Then `Scoped<Transaction<Sqlite>>` is the one and `Scoped<Audit>` the other. Where it is for one handler,
/// [`RequestScope`](crate::RequestScope) does without: `scope.lazy(&app.audit).get().await?`.
pub struct Scoped<R: Resource>(pub Lazy<R>);

impl<R: Resource> Scoped<R> {
    fn of<S>(scope: &ScopeHandle, state: &S) -> Self
    where
        Arc<R>: FromRef<S>,
    {
        let resource = Arc::from_ref(state);
        // Not the state's own, or that would have it too. The scope knows it from a second database by seeing another
        // one, from which nobody acquires.
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
