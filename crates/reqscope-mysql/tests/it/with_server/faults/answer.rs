//! One request, and its outcome in terms of the public API.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{self, DriverError, IoError};
use reqscope_mysql::{MySql, MySqlError};
use tokio::time::Instant;

/// The outcome of a request, and how long it took.
pub(super) struct Answer {
    pub(super) what: String,
    pub(super) after: Duration,
    pub(super) is_good: bool,
}

/// Acquires a connection, runs a statement and releases it, as a short request does.
pub(super) async fn request(pool: &Arc<Pool<MySql>>, statement: &str) -> Answer {
    let began = Instant::now();
    let mut lease = match Lease::acquire(pool).await {
        Ok(lease) => lease,
        Err(error) => return Answer { what: no_connection(&error), after: began.elapsed(), is_good: false },
    };
    let outcome = lease.query_drop(statement).await;
    let after = began.elapsed();
    match outcome {
        Ok(()) => {
            Lease::complete(lease).await.expect("the pool takes it back");
            Answer { what: "an answer".to_owned(), after, is_good: true }
        }
        Err(error) => {
            Lease::fail(lease).await.expect("the pool takes it back");
            Answer { what: no_answer(&error.into()), after, is_good: false }
        }
    }
}

/// Runs a request that only reads.
pub(super) async fn ask(pool: &Arc<Pool<MySql>>) -> Answer {
    request(pool, "SELECT 1").await
}

/// Sends a request every 10 ms until one succeeds; returns the time from now until then.
pub(super) async fn first_good(pool: &Arc<Pool<MySql>>, statement: &str) -> Duration {
    let end = Instant::now();
    while !request(pool, statement).await.is_good {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    end.elapsed()
}

/// Describes the error of a statement.
pub(super) fn no_answer(error: &MySqlError) -> String {
    format!("the statement fails: {}", cause(error))
}

/// Describes the error of an acquisition.
pub(super) fn no_connection(error: &Error<MySqlError>) -> String {
    format!("no connection: {}", kind(error))
}

/// Describes the error of an acquisition or a release.
pub(super) fn kind(error: &Error<MySqlError>) -> String {
    let questions = [
        (error.is_timeout(), "`is_timeout`"),
        (error.is_unavailable(), "`is_unavailable`"),
        (error.is_exhausted(), "`is_exhausted`"),
        (error.is_closed(), "`is_closed`"),
        (error.is_permanent(), "`is_permanent`"),
    ];
    let mut words: Vec<String> = questions.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()).collect();
    words.extend(error.cause().map(cause));
    words.join(", ")
}

/// Describes the cause of an error.
fn cause(error: &MySqlError) -> String {
    match error {
        MySqlError::Driver(error) => driver(error),
        MySqlError::TimedOut { .. } => "`TimedOut`".to_owned(),
        MySqlError::UnknownOutcome(_) => "`UnknownOutcome`".to_owned(),
        MySqlError::Unreachable { cause: inner, .. } => cause(inner),
        MySqlError::InDoubt => "`InDoubt`".to_owned(),
        MySqlError::Closed => "`Closed`".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Describes an error of the driver or the server.
fn driver(error: &mysql_async::Error) -> String {
    match error {
        // Depending on the timing, the server still sends an error before it closes the connection.
        mysql_async::Error::Server(error) if matches!(error.code, 1053 | 1927) => "connection lost".to_owned(),
        mysql_async::Error::Server(error) => {
            let code = error.code;
            let error = MySqlError::from(mysql_async::Error::Server(error.clone()));
            let questions = [(error.is_read_only(), "`is_read_only`"), (error.is_try_again(), "`is_try_again`")];
            let answers = questions.iter().filter(|(is, _)| *is).map(|(_, word)| format!(", {word}"));
            format!("server error {code}{}", answers.collect::<String>())
        }
        mysql_async::Error::Io(IoError::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        mysql_async::Error::Io(IoError::Io(_)) | mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
            "connection lost".to_owned()
        }
        other => format!("{other:?}"),
    }
}
