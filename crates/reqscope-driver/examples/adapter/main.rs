//! An adapter for a server that you have never heard of, and what it gets for its 150 lines: requests whose work is
//! committed or rolled back as a whole, and whose cut operations reach no other request.
//!
//! ```text
//! cargo run -p reqscope-driver --example adapter
//! ```
mod kv;
mod server;

use std::sync::Arc;
use std::time::Duration;

use kv::{Kv, KvConn, KvError};
use reqscope::error::Chain;
use reqscope::{Exit, Pool, Scopes};
use reqscope_driver::Transaction;
use server::{Fault, Server};

/// Moves an amount, in whatever transaction its caller is in.
async fn transfer(tx: &mut KvConn, from: &str, to: &str, amount: i64) -> Result<(), KvError> {
    let (payer, payee) = (tx.get(from).await?, tx.get(to).await?);
    tx.set(from, payer - amount).await?;
    tx.set(to, payee + amount).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start().await?;
    let kv = Kv { host: "localhost", port: server.port(), limit: Duration::from_secs(1) };
    let transactions = Arc::new(Transaction::new(Arc::new(Pool::builder().max_size(4).build(kv))));
    let scopes = Scopes::new();

    for exit in [Exit::Completed, Exit::Failed] {
        let scope = scopes.open(); // one per request; a front end does this
        let tx = scope.lazy(&transactions);
        transfer(&mut *tx.get().await?, "alice", "bob", 10).await?; // first use: connects, BEGIN
        scope.close(exit).await?; // COMMIT, then ROLLBACK
        println!("after {exit}: alice {:?}, bob {:?}", server.value("alice"), server.value("bob"));
    }

    // Both read what the other changes. One is refused, and runs again.
    let both = ["carol", "dave"].map(|to| {
        let transactions = Arc::clone(&transactions);
        tokio::spawn(async move {
            let mut attempts = transactions.attempts(10);
            loop {
                let mut tx = attempts.begin().await?;
                let outcome = transfer(&mut tx, "alice", to, 10).await.map_err(reqscope::Error::from);
                if let Some(outcome) = tx.end(outcome).await {
                    return outcome;
                }
            }
        })
    });
    for transferred in both {
        transferred.await??;
    }
    println!("in the end: alice {:?}", server.value("alice"));

    for (what, fault) in [("refused", Fault::Refuse), ("lost", Fault::HangUp), ("not answered", Fault::Freeze)] {
        let scope = scopes.open();
        let tx = scope.lazy(&transactions);
        let id = tx.get().await?.id();
        server.fail("COMMIT", fault);
        let closed = scope.close(Exit::Completed).await;
        server.fail("COMMIT", None);
        if let Err(error) = closed {
            println!("a COMMIT is {what}, on connection {id} of {}: {}", server.open(), Chain(&error));
        }
    }
    Ok(())
}
