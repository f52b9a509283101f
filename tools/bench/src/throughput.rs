//! Measures requests a second over loopback, with the layer and without. The services take turns in each round, so that
//! the load of the machine affects all of them; the service without the layer has two turns, whose difference is noise.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reqscope::Scopes;
use reqscope_records::bench::ThroughputRun;
use reqscope_tower::{RequestExt, ScopeLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::{Layer, Service, service_fn};

use crate::http::{HELLO, REQUEST, hello};
use crate::ready::{OVER_LOOPBACK, Ready};

/// How many connections there are, each with one request at a time.
const CLIENTS: usize = 16;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(200);

/// Measures so many rounds, and prints them.
#[tokio::main]
pub(crate) async fn run(rounds: usize) -> anyhow::Result<()> {
    let layer = ScopeLayer::new(&Scopes::new());
    let ready = Arc::new(Ready::<OVER_LOOPBACK>);
    let uses = move |request: Request<Incoming>| {
        let lazy = request.scope().lazy(&ready);
        async move {
            drop(lazy.get().await.expect("it is ready"));
            hello(&request)
        }
    };
    let plain = serve(service_fn(|request| async move { hello(&request) })).await?;
    let again = serve(service_fn(|request| async move { hello(&request) })).await?;
    let unused = serve(layer.layer(service_fn(|request| async move { hello(&request) }))).await?;
    let used = serve(layer.layer(service_fn(uses))).await?;

    let mut run = ThroughputRun::default();
    for _ in 0..rounds {
        run.plain.push(ask(plain).await?);
        run.unused.push(ask(unused).await?);
        run.used.push(ask(used).await?);
        run.again.push(ask(again).await?);
    }
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// Starts a server, which runs until the runtime ends, and returns its address.
async fn serve<S, B>(service: S) -> anyhow::Result<SocketAddr>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Future + Send>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            // The client reports an error of the connection.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// Returns how many requests a second the server at this address answers.
async fn ask(address: SocketAddr) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(address, began + TURN));
    }
    let mut answers = 0_u32;
    while let Some(client) = clients.join_next().await {
        answers += client??;
    }
    Ok(f64::from(answers) / began.elapsed().as_secs_f64())
}

/// Runs one client until then, and returns how many answers it received.
async fn client(address: SocketAddr, until: Instant) -> anyhow::Result<u32> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answers = 0;
    let mut response = [0; 4096];
    while Instant::now() < until {
        stream.write_all(REQUEST).await?;
        let mut length = 0;
        while !response[..length].ends_with(HELLO.as_bytes()) {
            let more = stream.read(&mut response[length..]).await.context("in the middle of an answer")?;
            ensure!(more > 0, "a connection was closed in the middle of an answer");
            length += more;
        }
        answers += 1;
    }
    Ok(answers)
}
