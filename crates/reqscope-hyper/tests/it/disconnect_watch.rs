//! The disconnect watch by itself.

use std::io::{self, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use reqscope_hyper::{DisconnectWatch, RequestExt};
use reqscope_testkit::{poll_once, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Answer, BOUND, Client, Context, Event, Server, Setup, full};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn answers(mut watch: DisconnectWatch) {
    timeout(BOUND, watch.gone()).await.expect("the watch answers");
    watch.gone().await;
}

#[tokio::test]
async fn it_sees_a_fin_behind_unread_bytes_and_leaves_the_bytes_alone() {
    let (mut client, mut socket) = pair().await;
    let watch = DisconnectWatch::new(&socket).unwrap();
    client.write_all(b"unread").await.unwrap();
    drop(client);
    answers(watch).await;
    let mut bytes = String::new();
    socket.read_to_string(&mut bytes).await.unwrap();
    assert_eq!(bytes, "unread");
}

#[tokio::test]
async fn it_sees_a_reset() {
    for resets_only in [false, true] {
        let (mut client, socket) = pair().await;
        let watch =
            if resets_only { DisconnectWatch::for_reset(&socket) } else { DisconnectWatch::new(&socket) }.unwrap();
        client.write_all(b"unread").await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        answers(watch).await;
    }
}

#[tokio::test]
async fn it_sees_what_happened_before_it_was_made() {
    let (client, socket) = pair().await;
    drop(client);
    answers(DisconnectWatch::new(&socket).unwrap()).await;
}

#[tokio::test]
async fn bytes_do_not_wake_it_for_good() {
    let (mut client, mut socket) = pair().await;
    let mut watch = DisconnectWatch::new(&socket).unwrap();
    for _ in 0..100 {
        client.write_all(b"ping").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        assert!(poll_once(pin!(watch.gone())).is_pending());
    }
    drop(client);
    answers(watch).await;
}

#[tokio::test]
async fn for_reset_a_half_close_is_nothing() {
    let (mut client, mut socket) = pair().await;
    let mut watch = DisconnectWatch::for_reset(&socket).unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    assert!(timeout(Duration::from_millis(100), watch.gone()).await.is_err());
}

#[tokio::test]
async fn never_never_answers() {
    assert!(poll_once(pin!(DisconnectWatch::never().gone())).is_pending());
}

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(full("done")))
}

/// The bar is 50 ms at the median, for a machine under load; a quiet one does it in a tenth of a millisecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_behind_unread_bytes_is_seen_at_once() {
    let mut server = Server::start(Setup::default(), waits).await;
    let mut delays = Vec::new();
    for turn in 0..100 {
        let mut client = Client::connect(server.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nunread").await;
        server.hears(Event::Waits).await;
        let gone = Instant::now();
        if turn % 2 == 0 {
            client.fin()
        } else {
            client.rst()
        }
        server.hears(Event::Dropped).await;
        delays.push(gone.elapsed());
    }
    delays.sort();
    let median = delays[delays.len() / 2];
    println!("median {median:?}, slowest {:?}", delays[delays.len() - 1]);
    assert!(median < Duration::from_millis(50), "{median:?}");
}

/// Looks, at the moment when the handler is dropped, whether its client has seen the close already.
struct Looks(std::net::TcpStream, mpsc::Sender<bool>);

impl Drop for Looks {
    fn drop(&mut self) {
        let nothing_yet = self.0.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.1.send(!nothing_yet).unwrap();
    }
}

/// hyper closes the socket before it drops the handler; the watch's duplicate keeps it open until that is done.
#[tokio::test]
async fn the_client_sees_the_close_when_its_handler_is_gone() {
    let (look, looked) = mpsc::channel();
    let client: Arc<OnceLock<std::net::TcpStream>> = Arc::default();
    let clients = Arc::clone(&client);
    let handler = move |request: Request<Incoming>, context: Context| {
        let looks = Looks(clients.get().unwrap().try_clone().unwrap(), look.clone());
        async move {
            let _looks = looks;
            waits(request, context).await
        }
    };
    let mut server = Server::start(Setup::default(), handler).await;
    let mut socket = std::net::TcpStream::connect(server.address).unwrap();
    client.set(socket.try_clone().unwrap()).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    server.hears(Event::Waits).await;
    socket.shutdown(Shutdown::Write).unwrap();
    server.hears(Event::Dropped).await;
    let saw_the_close_too_early = looked.recv().unwrap();
    assert!(!saw_the_close_too_early);
    until(BOUND, || matches!(socket.peek(&mut [0]), Ok(0))).await;
}
