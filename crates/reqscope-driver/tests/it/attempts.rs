//! A transaction that failed because of a concurrent one is run again, all of it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use reqscope::{Lease, Pool};
use reqscope_driver::{Transaction, is_try_again};

use crate::kv::{Kv, KvConn, KvError};
use crate::server::{Fault, Server};
use crate::support::{next_user, pool, transactions};

type Transactions = Arc<Transaction<Pool<Kv>>>;

/// An application's own error.
#[derive(Debug)]
enum AppError {
    Acquire(reqscope::Error<KvError>),
    Kv(KvError),
    OutOfMoney,
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not transferred")
    }
}

impl StdError for AppError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            AppError::Acquire(error) => Some(error),
            AppError::Kv(error) => Some(error),
            AppError::OutOfMoney => None,
        }
    }
}

impl From<reqscope::Error<KvError>> for AppError {
    fn from(error: reqscope::Error<KvError>) -> Self {
        AppError::Acquire(error)
    }
}

impl From<KvError> for AppError {
    fn from(error: KvError) -> Self {
        AppError::Kv(error)
    }
}

/// What a request asks for.
struct Request {
    from: String,
    to: String,
    amount: i64,
}

fn request(from: &str, to: &str, amount: i64) -> Request {
    Request { from: from.to_owned(), to: to.to_owned(), amount }
}

async fn transfer(tx: &mut KvConn, request: &Request) -> Result<(), AppError> {
    let (payer, payee) = (tx.get(&request.from).await?, tx.get(&request.to).await?);
    if payer < request.amount {
        return Err(AppError::OutOfMoney);
    }
    tx.set(&request.from, payer - request.amount).await?;
    Ok(tx.set(&request.to, payee + request.amount).await?)
}

/// The handler of a front end: it borrows from its request, and returns the application's own error.
async fn handle(transactions: Transactions, request: Request) -> Result<u32, AppError> {
    let mut attempts = transactions.attempts(100);
    for attempt in 1.. {
        let mut tx = attempts.begin().await?;
        let outcome = transfer(&mut tx, &request).await;
        if let Some(outcome) = tx.end(outcome).await {
            return outcome.map(|()| attempt);
        }
    }
    unreachable!("the last attempt has an outcome")
}

async fn deposit(pool: &Arc<Pool<Kv>>, name: &str, amount: i64) {
    let mut conn = Lease::acquire(pool).await.unwrap();
    conn.set(name, amount).await.unwrap();
    Lease::complete(conn).await.unwrap();
}

/// The future of the handler is `Send`, since it is spawned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_transfers_all_succeed_once() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 8);
    let tx = transactions(&pool);
    deposit(&pool, "alice", 100).await;
    let transfers: Vec<_> =
        (0..20).map(|_| tokio::spawn(handle(Arc::clone(&tx), request("alice", "bob", 5)))).collect();
    for transferred in transfers {
        transferred.await.unwrap().unwrap();
    }
    assert_eq!((server.value("alice"), server.value("bob")), (Some(0), Some(100)));
    let error = handle(tx, request("alice", "bob", 5)).await.unwrap_err();
    assert!(matches!(error, AppError::OutOfMoney), "{error:?}");
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_error_is_returned() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 2);
    let tx = transactions(&pool);
    for most in 0..4 {
        let (mut attempts, mut made) = (tx.attempts(most), 0);
        let outcome = loop {
            let mut tx = attempts.begin().await.unwrap();
            made += 1;
            let seen = tx.get("counter").await.unwrap();
            deposit(&pool, "counter", seen + 1).await;
            tx.set("counter", -1).await.unwrap();
            if let Some(outcome) = tx.end(Ok::<_, AppError>(())).await {
                break outcome;
            }
        };
        let error = outcome.unwrap_err();
        assert!(is_try_again::<KvConn>(&error), "{error:?}");
        assert_eq!(made, most.max(1), "there is always a first attempt");
    }
    assert_eq!(pool.status().created, 2, "no connection was lost");
}

#[tokio::test]
async fn other_errors_are_returned_at_once_and_rolled_back() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 2);
    let tx = transactions(&pool);
    for wrong in ["SET value many", "NONSENSE"] {
        let mut attempts = tx.attempts(5);
        let mut tx = attempts.begin().await.unwrap();
        tx.set("value", 1).await.unwrap();
        let outcome = tx.ask(wrong).await.map_err(AppError::from);
        assert!(matches!(tx.end(outcome).await, Some(Err(AppError::Kv(KvError::Server(_))))));
    }
    next_user(&pool).await;
    assert_eq!(server.value("value"), None);
}

#[tokio::test]
async fn dropped_attempt_is_rolled_back() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let mut attempts = transactions(&pool).attempts(5);
    let mut tx = attempts.begin().await.unwrap();
    tx.set("value", 1).await.unwrap();
    drop(tx);
    next_user(&pool).await;
    assert_eq!(server.value("value"), None);
}

/// A front end's error type may be no `Error`; the caller then says what to repeat.
#[tokio::test]
async fn error_that_is_no_error_type_is_judged_by_its_owner() {
    struct Answer(u16);
    impl From<reqscope::Error<KvError>> for Answer {
        fn from(error: reqscope::Error<KvError>) -> Self {
            Answer(if is_try_again::<KvConn>(&error) { 409 } else { 500 })
        }
    }
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 2);
    let tx = transactions(&pool);
    let (mut attempts, mut made) = (tx.attempts(2), 0);
    let outcome = loop {
        let mut tx = attempts.begin().await.unwrap();
        made += 1;
        let seen = tx.get("counter").await.unwrap();
        deposit(&pool, "counter", seen + 1).await;
        if let Some(outcome) = tx.end_if(Ok::<_, Answer>(()), |answer| answer.0 == 409).await {
            break outcome;
        }
    };
    assert!(matches!(outcome, Err(Answer(409))));
    assert_eq!(made, 2);
}

/// It may have taken effect.
#[tokio::test]
async fn commit_with_an_unknown_outcome_is_not_repeated() {
    let server = Server::start().await.unwrap();
    let mut attempts = transactions(&pool(&server, 1)).attempts(5);
    let tx = attempts.begin().await.unwrap();
    server.fail("COMMIT", Fault::HangUp);
    let outcome = tx.end_if(Ok::<_, AppError>(()), |_error| true).await;
    assert!(matches!(outcome, Some(Err(AppError::Acquire(error))) if error.is_unknown_outcome()));
}

#[tokio::test]
async fn run_repeats_its_closure() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 2);
    let mut made = 0;
    let outcome: Result<i64, AppError> = transactions(&pool)
        .run(5, async |tx| {
            made += 1;
            let seen = tx.get("counter").await?;
            if made < 3 {
                deposit(&pool, "counter", seen + 1).await;
            }
            tx.set("counter", seen + 10).await?;
            Ok(seen)
        })
        .await;
    assert_eq!((outcome.unwrap(), made, server.value("counter")), (2, 3, Some(12)));
}
