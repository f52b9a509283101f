use std::collections::HashMap;
use std::sync::{Arc, Weak};

use ::sqlx::pool::PoolConnection;
use ::sqlx::sqlite::{LockedSqliteHandle, SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use ::sqlx::{Error, Sqlite, SqlitePool};
use parking_lot::Mutex;

use crate::backend::{Backend, Refused};
use crate::contender::{Contender, Settings};

/// Its pool over SQLite in memory, as it pools nothing but connections to databases. An object of the backend hangs on
/// each connection, in a hook for commits that never runs, and ends with it. With nothing to hang there, it is sqlx as
/// it comes, with a ping at each check-out.
pub(crate) struct Sqlx;

pub(crate) struct Pool<B: Backend> {
    pool: SqlitePool,
    objects: Arc<Objects<B>>,
}

pub(crate) struct Guard<B: Backend> {
    connection: PoolConnection<Sqlite>,
    objects: Arc<Objects<B>>,
}

/// Which object hangs on which connection, by the address of its handle.
pub(crate) struct Objects<B: Backend> {
    backend: Arc<B>,
    by_address: Mutex<HashMap<usize, Weak<B::Object>>>,
}

fn address(handle: &mut LockedSqliteHandle<'_>) -> usize {
    handle.as_raw_handle().as_ptr().addr()
}

fn refused(Refused(why): Refused) -> Error {
    Error::Protocol(why)
}

impl<B: Backend> Objects<B> {
    async fn hang_one_on(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let object = Arc::new(self.backend.create().await.map_err(refused)?);
        let mut handle = connection.lock_handle().await?;
        self.by_address.lock().insert(address(&mut handle), Arc::downgrade(&object));
        handle.set_commit_hook(move || {
            let _held = &object;
            true
        });
        Ok(())
    }

    async fn on(&self, connection: &mut SqliteConnection) -> Result<Arc<B::Object>, Error> {
        let address = address(&mut connection.lock_handle().await?);
        let object = self.by_address.lock().get(&address).and_then(Weak::upgrade);
        object.ok_or_else(|| Error::Protocol("nothing hangs on it".to_owned()))
    }

    /// Whether it may be used.
    async fn validate(&self, connection: &mut SqliteConnection) -> Result<bool, Error> {
        let object = self.on(connection).await?;
        if self.backend.is_broken(&object) {
            return Ok(false);
        }
        self.backend.validate(&object).await.map_err(refused)?;
        Ok(true)
    }

    /// Whether it goes back to the pool; if not, it is ended first.
    async fn keep(&self, connection: &mut SqliteConnection) -> Result<bool, Error> {
        let object = self.on(connection).await?;
        if !self.backend.is_broken(&object) {
            return Ok(true);
        }
        connection.lock_handle().await?.remove_commit_hook();
        if let Some(object) = Arc::into_inner(object) {
            self.backend.release(object).await;
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
        let objects = Arc::new(Objects { backend, by_address: Mutex::default() });
        let [size, min_idle] = [settings.size, settings.min_idle].map(|n| u32::try_from(n).expect("it is small"));
        let mut options = SqlitePoolOptions::new()
            .max_connections(size)
            .min_connections(min_idle)
            .acquire_timeout(settings.timeout);
        if !B::IS_NOTHING {
            let (at_birth, at_return) = (Arc::clone(&objects), Arc::clone(&objects));
            options = options
                .after_connect(move |connection, _| {
                    let objects = Arc::clone(&at_birth);
                    Box::pin(async move { objects.hang_one_on(connection).await })
                })
                .after_release(move |connection, _| {
                    let objects = Arc::clone(&at_return);
                    Box::pin(async move { objects.keep(connection).await })
                });
            if settings.validates {
                let objects = Arc::clone(&objects);
                options = options.before_acquire(move |connection, _| {
                    let objects = Arc::clone(&objects);
                    Box::pin(async move { objects.validate(connection).await })
                });
            }
        }
        let in_memory = "sqlite::memory:".parse::<SqliteConnectOptions>().expect("its docs have it so");
        Pool { pool: options.connect_lazy_with(in_memory), objects }
    }

    async fn get<B: Backend>(pool: &Pool<B>) -> Result<Guard<B>, Refused> {
        let connection = pool.pool.acquire().await.map_err(Refused::by)?;
        Ok(Guard { connection, objects: Arc::clone(&pool.objects) })
    }

    async fn id<B: Backend>(guard: &mut Guard<B>) -> u64 {
        if B::IS_NOTHING {
            let mut handle = guard.connection.lock_handle().await.expect("its thread lives");
            return address(&mut handle) as u64;
        }
        B::id(&*guard.objects.on(&mut guard.connection).await.expect("an object hangs on each connection"))
    }
}
