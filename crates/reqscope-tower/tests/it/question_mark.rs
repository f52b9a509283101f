//! `?` on everything that a handler calls. That these functions compile is the test; where the status matters, it is
//! checked as well.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::StatusCode;
use reqscope::error::{Chain, Stage};
use reqscope::{CloseError, Error, Exit, Lease, Pool, ScopeHandle, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, mysql_async};
use reqscope_sqlite::rusqlite::{self, OptionalExtension};
use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError, Transaction};
use reqscope_testkit::{Probe, Verb};
use reqscope_tower::{LeaseBodyError, MissingScope, RequestExt, ScopeError, Scoped};

type Writes = Transaction<Pool<Sqlite>>;
type MyWrites = reqscope_mysql::Transaction<Pool<MySql>>;

mod core {
    use super::*;

    /// A `get`, a lease, their ends, and the close of a scope.
    async fn all(scope: &ScopeHandle, probe: &Arc<Probe>, scopes: &Scopes) -> Result<(), ScopeError> {
        scope.lazy(probe).get().await?.use_once();
        let lease = Lease::acquire(probe).await?;
        Lease::complete(lease).await?;
        scopes.open().close(Exit::Completed).await?;
        Ok(())
    }

    #[tokio::test]
    async fn question_mark_on_get_lease_and_close() {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new().settling()));
        let scope = scopes.open();
        all(scope.handle(), &probe, &scopes).await.unwrap();
        probe.on(Verb::Release).error();
        drop(scope.lazy(&probe).get().await.unwrap());
        let closed = async { Ok::<(), ScopeError>(scope.close(Exit::Completed).await?) };
        let error = closed.await.unwrap_err();
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.source().is::<CloseError>());
        assert!(error.to_string().ends_with("the resource failed while releasing: scripted failure"), "{error}");
    }

    #[test]
    fn question_mark_on_try_scope_names_the_layer() {
        fn scope(request: &http::Request<()>) -> Result<&ScopeHandle, ScopeError> {
            Ok(request.try_scope()?)
        }
        let error = scope(&http::Request::new(())).unwrap_err();
        assert!(error.source().is::<MissingScope>());
    }
}

mod sqlite {
    use super::*;

    async fn handler(Scoped(tx): Scoped<Writes>) -> Result<String, ScopeError> {
        let mut tx = tx.get().await?;
        let (n, text): (i64, String) =
            tx.call(|db| db.query_row("…", (), |row| Ok((row.get(0)?, row.get(1)?)))).await?;
        insert(&mut tx, n).await?;
        tx.call(|db| db.execute_batch("…")).await?;
        let row = tx.call(|db| db.query_row("…", (), |row| row.get::<_, u8>(0)).optional()).await?;
        Ok(format!("{text} {row:?} {}", parse(&text)?))
    }

    async fn insert(conn: &mut SqliteConn, n: i64) -> Result<usize, SqliteError> {
        conn.call(move |db| db.execute("…", [n])).await
    }

    /// A function that uses the driver's own error type.
    fn parse(text: &str) -> rusqlite::Result<u8> {
        text.parse().map_err(|_invalid| rusqlite::Error::InvalidQuery)
    }

    /// An answer of the application out of a closure: `?` on the driver's errors inside, `??` outside.
    async fn take(conn: &mut SqliteConn, n: u32) -> Result<u32, AppError> {
        conn.call(move |db| {
            let stock: u32 = db.query_row("SELECT 3", (), |row| row.get(0))?;
            Ok(stock.checked_sub(n).ok_or(AppError::OutOfStock))
        })
        .await?
    }

    #[tokio::test]
    async fn business_error_passes_through_a_call() {
        let _route: MethodRouter<Arc<Writes>> = post(handler);
        let sqlite = Arc::new(Sqlite::temporary().unwrap());
        let mut conn = Lease::acquire(&sqlite).await.unwrap();
        assert_eq!(take(&mut conn, 1).await.ok(), Some(2));
        assert!(matches!(take(&mut conn, 4).await, Err(AppError::OutOfStock)));
        Lease::complete(conn).await.unwrap();
    }

    #[tokio::test]
    async fn database_locked_by_another_program_is_a_503() {
        let sqlite = Sqlite::builder().busy_timeout(Duration::ZERO).build_temporary().unwrap();
        let other = rusqlite::Connection::open(sqlite.path()).unwrap();
        let sqlite = Arc::new(sqlite);
        let mut conn = Lease::acquire(&sqlite).await.unwrap();
        conn.call(|db| db.execute_batch("CREATE TABLE visits (id)")).await.unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();

        let insert = conn.call(|db| db.execute("INSERT INTO visits VALUES (1)", ())).await;
        let busy = ScopeError::from(insert.unwrap_err());
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE, "{busy}");
        let line = "answered with 503 Service Unavailable: sqlite failed: database is locked";
        assert!(busy.to_string().starts_with(line), "{busy}");

        let writes = Arc::new(Transaction::new(sqlite.clone()));
        // It begins with its first call.
        let mut open = Lease::acquire(&writes).await.unwrap();
        let begin = ScopeError::from(open.call(|_db| Ok(())).await.unwrap_err());
        assert_eq!(begin.status(), StatusCode::SERVICE_UNAVAILABLE, "{begin}");
        Lease::fail(open).await.unwrap();

        let wrong = conn.call(|db| db.execute("INSERT INTO visitors VALUES (1)", ())).await;
        let wrong = ScopeError::from(wrong.unwrap_err());
        assert_eq!(wrong.status(), StatusCode::INTERNAL_SERVER_ERROR, "{wrong}");
        Lease::complete(conn).await.unwrap();
    }
}

mod mysql {
    use super::*;

    async fn handler(Scoped(tx): Scoped<MyWrites>) -> Result<String, ScopeError> {
        let mut tx = tx.get().await?;
        tx.query_drop("…").await?;
        tx.exec_drop("…", (1,)).await?;
        let first: Option<u64> = tx.exec_first("…", ()).await?;
        insert(&mut tx).await?;
        Ok(format!("{first:?}"))
    }

    async fn insert(conn: &mut MySqlConn) -> Result<(), MySqlError> {
        Ok(conn.query_drop("…").await?)
    }

    async fn savepoint(conn: &mut MySqlConn) -> Result<(), ScopeError> {
        let mut inner = conn.savepoint().await?;
        inner.query_drop("…").await?;
        Ok(inner.release().await?)
    }

    fn status(error: impl Into<ScopeError>) -> u16 {
        error.into().status().as_u16()
    }

    fn server(code: u16, message: &str) -> mysql_async::Error {
        let (message, state) = (message.to_owned(), "HY000".to_owned());
        mysql_async::Error::Server(mysql_async::ServerError { code, message, state })
    }

    /// `Queryable` can only return the driver's error type, in which ours is wrapped.
    fn in_drivers(error: MySqlError) -> mysql_async::Error {
        mysql_async::Error::Other(Box::new(error))
    }

    #[test]
    fn errors_of_the_driver_have_the_class_of_ours() {
        let _route: MethodRouter<Arc<MyWrites>> = post(handler);
        let _compiles = savepoint;
        let late = || MySqlError::TimedOut { what: "an operation", after: Duration::from_secs(5) };
        assert_eq!(status(late()), 503);
        assert_eq!(status(in_drivers(late())), 503);
        assert_eq!(status(Error::failed(late())), 503);
        assert_eq!(status(MySqlError::ReadOnly), 503);
        assert_eq!(status(MySqlError::from(server(1290, "--read-only"))), 503);
        assert_eq!(status(MySqlError::from(Error::<MySqlError>::exhausted())), 503);
        assert_eq!(status(in_drivers(Error::<MySqlError>::exhausted().into())), 503);
    }

    #[test]
    fn unknown_outcome_is_a_500_whatever_caused_it() {
        let unknown = || MySqlError::UnknownOutcome(Some(Box::new(MySqlError::ReadOnly)));
        assert_eq!(status(unknown()), 500);
        assert_eq!(status(in_drivers(unknown())), 500);
        assert_eq!(status(Error::unknown_outcome(unknown()).at(Stage::Releasing)), 500);
    }

    #[test]
    fn mistakes_in_the_program_are_a_500() {
        assert_eq!(status(server(1146, "Table 'shop.visits' doesn't exist")), 500);
        assert_eq!(status(MySqlError::from(server(1146, "Table 'shop.visits' doesn't exist"))), 500);
        assert_eq!(status(MySqlError::NotOpen), 500);
    }
}

mod others {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Billing {
        #[error("no bill could be written")]
        Nested(#[source] Error<SqliteError>),
        #[error(transparent)]
        Transparent(#[from] Error<SqliteError>),
        #[error("the amount is invalid")]
        Amount(#[from] std::num::ParseIntError),
    }

    fn library() -> Result<u32, Billing> {
        Ok("12".parse()?)
    }

    fn boxed() -> Result<(), Box<dyn StdError + Send + Sync>> {
        Err(Error::<io::Error>::exhausted())?
    }

    fn any() -> anyhow::Result<()> {
        Err(Error::<io::Error>::exhausted())?
    }

    fn callee(json: &str) -> Result<serde_json::Value, ScopeError> {
        Ok(serde_json::from_str(json)?)
    }

    /// The shapes that need no conversion by hand, and the two that do.
    fn caller(json: &str) -> Result<String, ScopeError> {
        let text = serde_json::to_string(&callee(json)?)?;
        let bytes = String::from_utf8(text.into_bytes())?;
        library()?;
        boxed().map_err(ScopeError::new)?;
        any().map_err(ScopeError::new)?;
        let _file = std::fs::read("/no/such/file")?;
        Err(LeaseBodyError::<io::Error>::Release(Error::closed()))?;
        if bytes.is_empty() { Err(ScopeError::new("nothing to say")) } else { Ok(bytes) }
    }

    #[test]
    fn class_is_found_in_errors_of_libraries() {
        let status = |error: ScopeError| error.status();
        assert_eq!(status(Billing::Nested(Error::exhausted()).into()), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(Billing::Transparent(Error::exhausted()).into()), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            status(io::Error::other(Error::<SqliteError>::exhausted()).into()),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status(ScopeError::new(boxed().unwrap_err())), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(ScopeError::new(any().unwrap_err())), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(caller("{").unwrap_err()), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(caller("{}").unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE, "out of `boxed`");
    }

    /// The other direction: a job that calls a function written for handlers.
    #[test]
    fn question_mark_on_a_scope_error_works_outside_of_handlers() {
        fn job() -> Result<(), Box<dyn StdError + Send + Sync>> {
            callee("{")?;
            Ok(())
        }
        fn main() -> Result<(), Box<dyn StdError>> {
            callee("{")?;
            Ok(())
        }
        fn any() -> anyhow::Result<()> {
            callee("{").map_err(|error| anyhow::Error::from_boxed(error.into()))?;
            Ok(())
        }
        let shown = |error: &dyn StdError| error.to_string();
        assert_eq!(shown(&*job().unwrap_err()), shown(&*main().unwrap_err()));
        assert!(any().is_err());
    }

    /// The fault: the box held an `Arc` of the error, so neither a downcast nor a walk along the sources found its type.
    #[test]
    fn boxed_scope_error_is_the_error_inside() {
        let boxed = Box::<dyn StdError + Send + Sync>::from(callee("{").unwrap_err());
        assert!(boxed.is::<serde_json::Error>());
        assert!(Box::<dyn StdError>::from(callee("{").unwrap_err()).is::<serde_json::Error>());

        let error = callee("{").unwrap_err();
        let boxed = Box::<dyn StdError + Send + Sync>::from(error.clone());
        assert!(boxed.source().is_some_and(|inside| inside.is::<serde_json::Error>()));
        assert_eq!(Chain(&*boxed).to_string(), Chain(error.source()).to_string());
    }

    /// `#[from]` and `#[source]` of thiserror need an error, or what derefs to one.
    #[test]
    fn scope_error_can_be_a_source_of_thiserror() {
        #[derive(Debug, thiserror::Error)]
        enum Job {
            #[error("the job failed")]
            Nested(#[from] ScopeError),
            #[error(transparent)]
            Transparent(ScopeError),
        }

        fn job() -> Result<(), Job> {
            callee("{")?;
            Ok(())
        }
        let full = || ScopeError::from(Error::<io::Error>::exhausted());
        assert!(job().unwrap_err().source().is_some_and(|inside| inside.is::<serde_json::Error>()));
        for job in [Job::Nested(full()), Job::Transparent(full())] {
            assert_eq!(ScopeError::from(job).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}

/// The error type of an application. That `?` converts all of the above into it is tested by `take` and here.
#[derive(Debug)]
enum AppError {
    OutOfStock,
    Internal(ScopeError),
}

impl<E: Into<ScopeError>> From<E> for AppError {
    fn from(error: E) -> Self {
        AppError::Internal(error.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            AppError::OutOfStock => StatusCode::CONFLICT.into_response(),
            AppError::Internal(error) => error.into_response(),
        }
    }
}

mod app_error {
    use super::*;

    async fn handler(
        Scoped(tx): Scoped<Writes>,
        Scoped(my): Scoped<MyWrites>,
        request: http::Request<String>,
    ) -> Result<String, AppError> {
        let mut tx = tx.get().await?;
        let left: u32 = tx.call(|db| db.query_row("…", (), |row| row.get(0))).await?;
        my.get().await?.query_drop("…").await?;
        request.try_scope()?;
        scope_error()?;
        own_error()?;
        if left == 0 {
            return Err(AppError::OutOfStock);
        }
        Ok(serde_json::to_string(&left)?)
    }

    fn scope_error() -> Result<(), ScopeError> {
        Err(ScopeError::new("no"))
    }

    fn own_error() -> Result<(), AppError> {
        Err(AppError::OutOfStock)
    }

    fn is_send<T: Send>(_: &T) {}

    #[test]
    fn generic_from_converts_everything() {
        let _send = |tx, my, request| is_send(&handler(tx, my, request));
        assert_eq!(AppError::from(Error::<SqliteError>::closed()).into_response().status(), 503);
        assert_eq!(AppError::from(SqliteError::InDoubt).into_response().status(), 500);
        assert_eq!(AppError::from(scope_error().unwrap_err()).into_response().status(), 500);
    }
}

/// The error type of an application that uses thiserror, as the docs of `ScopeError` have it.
mod with_thiserror {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum AppError {
        #[error("the body does not parse: {0}")]
        Unparsable(#[from] serde_json::Error),
        #[error(transparent)]
        Get(#[from] Error<SqliteError>),
        #[error(transparent)]
        MyGet(#[from] Error<MySqlError>),
        #[error(transparent)]
        Call(#[from] SqliteError),
        #[error("the cache failed")]
        Cache(#[from] io::Error),
        #[error("{0}")]
        Internal(ScopeError),
    }

    impl From<ScopeError> for AppError {
        fn from(error: ScopeError) -> Self {
            AppError::Internal(error)
        }
    }

    impl IntoResponse for AppError {
        fn into_response(self) -> Response {
            match self {
                AppError::Unparsable(_) => (StatusCode::UNPROCESSABLE_ENTITY, self.to_string()).into_response(),
                AppError::Internal(error) => error.into_response(),
                _ => ScopeError::from(self).into_response(),
            }
        }
    }

    async fn handler(Scoped(tx): Scoped<Writes>, Scoped(my): Scoped<MyWrites>, body: String) -> Result<(), AppError> {
        let amount: u32 = serde_json::from_str(&body)?;
        let mut tx = tx.get().await?;
        tx.call(move |db| db.execute("…", [amount])).await?;
        drop(my.get().await?);
        Err(ScopeError::new("a function of the application"))?
    }

    /// The client's fault was a 500 with an empty body where the documented impl converted every error.
    #[test]
    fn each_error_has_its_answer() {
        let _route: MethodRouter<App> = post(handler);
        let parsed = serde_json::from_str::<u32>("{").map_err(AppError::from);
        assert_eq!(parsed.unwrap_err().into_response().status(), StatusCode::UNPROCESSABLE_ENTITY);
        let status = |error: AppError| error.into_response().status().as_u16();
        assert_eq!(status(Error::<SqliteError>::exhausted().into()), 503, "the class is found through `transparent`");
        assert_eq!(status(Error::<MySqlError>::closed().into()), 503);
        assert_eq!(status(io::Error::other(Error::<SqliteError>::exhausted()).into()), 503);
        assert_eq!(status(SqliteError::InDoubt.into()), 500);
        assert_eq!(status(ScopeError::from(Error::<SqliteError>::exhausted()).into()), 503);
    }

    #[derive(Clone)]
    struct App(Arc<Writes>, Arc<MyWrites>);

    impl axum::extract::FromRef<App> for Arc<Writes> {
        fn from_ref(app: &App) -> Self {
            app.0.clone()
        }
    }

    impl axum::extract::FromRef<App> for Arc<MyWrites> {
        fn from_ref(app: &App) -> Self {
            app.1.clone()
        }
    }
}
