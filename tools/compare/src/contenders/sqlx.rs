use std::collections::HashMap;
use std::sync::{Arc, Weak};

use ::sqlx::pool::PoolConnection;
use ::sqlx::sqlite::{LockedSqliteHandle, SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use ::sqlx::{Error, Sqlite, SqlitePool};
use parking_lot::Mutex;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// Its pool over SQLite in memory, because it pools only database connections. A handle of the backend is attached to
/// each connection, in a commit hook that never runs, and is dropped with it. Its ping at each check-out is on where
/// handles are validated; its ping at each return cannot be switched off.
pub(crate) struct Sqlx;

pub(crate) struct Pool<B: Backend> {
    pool: SqlitePool,
    handles: Arc<Handles<B>>,
}

pub(crate) struct Guard<B: Backend> {
    connection: PoolConnection<Sqlite>,
    handles: Arc<Handles<B>>,
}

/// The handle attached to each connection, by the address of its SQLite handle.
pub(crate) struct Handles<B: Backend> {
    backend: Arc<B>,
    by_address: Mutex<HashMap<usize, Weak<B::Handle>>>,
}

fn address(sqlite: &mut LockedSqliteHandle<'_>) -> usize {
    sqlite.as_raw_handle().as_ptr().addr()
}

fn refused(Refused(why): Refused) -> Error {
    Error::Protocol(why)
}

impl<B: Backend> Handles<B> {
    /// Creates a handle and attaches it to a connection.
    async fn attach(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let handle = Arc::new(self.backend.create().await.map_err(refused)?);
        let mut sqlite = connection.lock_handle().await?;
        self.by_address.lock().insert(address(&mut sqlite), Arc::downgrade(&handle));
        sqlite.set_commit_hook(move || {
            let _held = &handle;
            true
        });
        Ok(())
    }

    /// Returns the handle attached to a connection.
    async fn attached(&self, connection: &mut SqliteConnection) -> Result<Arc<B::Handle>, Error> {
        let address = address(&mut connection.lock_handle().await?);
        let handle = self.by_address.lock().get(&address).and_then(Weak::upgrade);
        handle.ok_or_else(|| Error::Protocol("no handle is attached".to_owned()))
    }

    /// Returns whether the connection may be lent.
    async fn validate(&self, connection: &mut SqliteConnection) -> Result<bool, Error> {
        let handle = self.attached(connection).await?;
        if self.backend.is_broken(&handle) {
            return Ok(false);
        }
        self.backend.validate(&handle).await.map_err(refused)?;
        Ok(true)
    }

    /// Returns whether the connection goes back to the pool; if not, releases its handle first.
    async fn keep(&self, connection: &mut SqliteConnection) -> Result<bool, Error> {
        let handle = self.attached(connection).await?;
        if !self.backend.is_broken(&handle) {
            return Ok(true);
        }
        connection.lock_handle().await?.remove_commit_hook();
        if let Some(handle) = Arc::into_inner(handle) {
            self.backend.release(handle).await;
        }
        Ok(false)
    }
}

impl Contender for Sqlx {
    const TITLE: &'static str = "sqlx over SQLite";
    const PACKAGE: Option<&'static str> = Some("sqlx");

    type Pool<B: Backend> = Pool<B>;
    type Guard<B: Backend> = Guard<B>;
    type Error<B: Backend> = Refused;

    async fn build<B: Backend>(backend: Arc<B>, settings: &Settings) -> Pool<B> {
        let handles = Arc::new(Handles { backend, by_address: Mutex::default() });
        let [size, min_idle] = [settings.size, settings.min_idle].map(|n| u32::try_from(n).expect("it is small"));
        let mut options = SqlitePoolOptions::new()
            .max_connections(size)
            .min_connections(min_idle)
            .test_before_acquire(settings.validates)
            .acquire_timeout(settings.timeout);
        if !B::IS_NOTHING {
            let (at_connect, at_return) = (Arc::clone(&handles), Arc::clone(&handles));
            options = options
                .after_connect(move |connection, _| {
                    let handles = Arc::clone(&at_connect);
                    Box::pin(async move { handles.attach(connection).await })
                })
                .after_release(move |connection, _| {
                    let handles = Arc::clone(&at_return);
                    Box::pin(async move { handles.keep(connection).await })
                });
            if settings.validates {
                let handles = Arc::clone(&handles);
                options = options.before_acquire(move |connection, _| {
                    let handles = Arc::clone(&handles);
                    Box::pin(async move { handles.validate(connection).await })
                });
            }
        }
        let in_memory = "sqlite::memory:".parse::<SqliteConnectOptions>().expect("it is the URL in the docs");
        Pool { pool: options.connect_lazy_with(in_memory), handles }
    }

    async fn get<B: Backend>(pool: &Pool<B>) -> Result<Guard<B>, Refused> {
        let connection = pool.pool.acquire().await.map_err(Refused::by)?;
        Ok(Guard { connection, handles: Arc::clone(&pool.handles) })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        if B::IS_NOTHING {
            let mut sqlite = guard.connection.lock_handle().await.expect("its thread lives");
            return address(&mut sqlite) as u64;
        }
        B::id(&*guard.handles.attached(&mut guard.connection).await.expect("each connection has a handle"))
    }
}
