//! A server that uses nothing but reqscope, so that the memory it keeps is reqscope's.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use reqscope::{Error, Exit, Resource, Scopes};
use reqscope_hyper::{RequestExt, ScopeService, serve};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// How long `acquire`, `release` and the handler take: about as long as a client that hangs up waits.
const STEP: Duration = Duration::from_millis(1);
/// The most that the requests in flight may take to end.
const SETTLED: Duration = Duration::from_secs(10);

/// A handle large enough for a leak to show.
type Page = Box<[u8; 4096]>;

/// A resource that is slow to acquire and to release, and counts how uses ended.
#[derive(Default)]
struct Pages {
    completed: AtomicU64,
    cut: AtomicU64,
}

impl Resource for Pages {
    type Handle = Page;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Page, Error<Infallible>> {
        sleep(STEP).await;
        Ok(Box::new([0; 4096]))
    }

    async fn release(&self, _page: Page, exit: Exit) -> Result<(), Error<Infallible>> {
        sleep(STEP).await;
        let counter = if exit.is_completed() { &self.completed } else { &self.cut };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What the server prints at its start.
#[derive(Deserialize, Serialize)]
pub(crate) struct Hello {
    pub(crate) address: SocketAddr,
}

/// What the server prints for each line that it reads, when no request is open.
#[derive(Deserialize, Serialize)]
pub(crate) struct State {
    /// How many handles were released after an answer.
    pub(crate) completed: u64,
    /// How many handles were released without an answer.
    pub(crate) cut: u64,
    /// Its resident memory, in bytes.
    pub(crate) resident: u64,
}

/// Serves until the standard input ends.
#[tokio::main]
pub(crate) async fn run() -> anyhow::Result<()> {
    let (scopes, pages) = (Scopes::new(), Arc::new(Pages::default()));
    let handler = {
        let pages = Arc::clone(&pages);
        move |request| handle(request, Arc::clone(&pages))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    print(&Hello { address: listener.local_addr()? })?;

    let service = ScopeService::new(&scopes, service_fn(handler));
    let server = tokio::spawn(serve(listener, service, &scopes).into_future());
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        let drained = scopes.drain(SETTLED).await;
        ensure!(drained.is_clean(), "something was not released: {drained:?}");
        let (completed, cut) = (pages.completed.load(Ordering::Relaxed), pages.cut.load(Ordering::Relaxed));
        print(&State { completed, cut, resident: resident()? })?;
    }
    server.abort();
    Ok(())
}

async fn handle(request: Request<Incoming>, pages: Arc<Pages>) -> Result<Response<String>, Error<Infallible>> {
    let _page = request.scope().lazy(&pages).get().await?;
    sleep(STEP).await;
    Ok(Response::new(String::from("hello")))
}

fn print(what: &impl Serialize) -> io::Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("only Linux has it")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
