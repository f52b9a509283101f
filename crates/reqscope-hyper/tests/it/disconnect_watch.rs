//! The disconnect watch on its own.

use std::io::{self, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

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

async fn expect_gone(mut watch: DisconnectWatch) {
    timeout(BOUND, watch.gone()).await.expect("the watch notices the disconnect");
    watch.gone().await;
}

#[tokio::test]
async fn watch_notices_a_fin_behind_bytes_it_leaves_unread() {
    let (mut client, mut socket) = pair().await;
    let watch = DisconnectWatch::new(&socket).unwrap();
    client.write_all(b"unread").await.unwrap();
    drop(client);
    expect_gone(watch).await;
    let mut bytes = String::new();
    socket.read_to_string(&mut bytes).await.unwrap();
    assert_eq!(bytes, "unread");
}

#[tokio::test]
async fn watch_notices_a_reset() {
    for resets_only in [false, true] {
        let (mut client, socket) = pair().await;
        let watch =
            if resets_only { DisconnectWatch::for_reset(&socket) } else { DisconnectWatch::new(&socket) }.unwrap();
        client.write_all(b"unread").await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        expect_gone(watch).await;
    }
}

#[tokio::test]
async fn watch_notices_an_earlier_disconnect() {
    let (client, socket) = pair().await;
    drop(client);
    expect_gone(DisconnectWatch::new(&socket).unwrap()).await;
}

#[tokio::test]
async fn received_bytes_do_not_end_the_watch() {
    let (mut client, mut socket) = pair().await;
    let mut watch = DisconnectWatch::new(&socket).unwrap();
    for _ in 0..100 {
        client.write_all(b"ping").await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        assert!(poll_once(pin!(watch.gone())).is_pending());
    }
    drop(client);
    expect_gone(watch).await;
}

#[tokio::test]
async fn watch_for_reset_ignores_a_half_close() {
    let (mut client, mut socket) = pair().await;
    let mut watch = DisconnectWatch::for_reset(&socket).unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    assert!(timeout(Duration::from_millis(100), watch.gone()).await.is_err());
}

#[tokio::test]
async fn never_is_always_pending() {
    assert!(poll_once(pin!(DisconnectWatch::never().gone())).is_pending());
}

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(Response::new(full("done")))
}

/// The runtime has no timers: the watch is woken by the disconnect itself, and does not poll for it.
#[test]
fn watch_needs_no_timer() {
    let (report, reported) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            for reset in [false, true] {
                let (mut client, socket) = pair().await;
                client.write_all(b"unread").await.unwrap();
                let mut watch = DisconnectWatch::new(&socket).unwrap();
                assert!(poll_once(pin!(watch.gone())).is_pending());
                if reset {
                    client.set_zero_linger().unwrap();
                }
                drop(client);
                watch.gone().await;
            }
        });
        report.send(()).unwrap();
    });
    reported.recv_timeout(BOUND).expect("the watch returns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_disconnect_behind_unread_bytes_is_noticed() {
    let mut server = Server::start(Setup::default(), waits).await;
    for turn in 0..100 {
        let mut client = Client::connect(server.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nunread").await;
        server.expect_event(Event::Waits).await;
        if turn % 2 == 0 {
            client.fin()
        } else {
            client.rst()
        }
        server.expect_event(Event::Dropped).await;
    }
}

/// Checks, when the handler is dropped, whether its client has already seen the close.
struct ChecksClose(std::net::TcpStream, mpsc::Sender<bool>);

impl Drop for ChecksClose {
    fn drop(&mut self) {
        let nothing_yet = self.0.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.1.send(!nothing_yet).unwrap();
    }
}

/// hyper closes the socket before it drops the handler; the watch's duplicate keeps it open until the handler is
/// dropped.
#[tokio::test]
async fn client_sees_the_close_after_its_handler_is_dropped() {
    let (look, looked) = mpsc::channel();
    let client: Arc<OnceLock<std::net::TcpStream>> = Arc::default();
    let clients = Arc::clone(&client);
    let handler = move |request: Request<Incoming>, context: Context| {
        let check = ChecksClose(clients.get().unwrap().try_clone().unwrap(), look.clone());
        async move {
            let _check = check;
            waits(request, context).await
        }
    };
    let mut server = Server::start(Setup::default(), handler).await;
    let mut socket = std::net::TcpStream::connect(server.address).unwrap();
    client.set(socket.try_clone().unwrap()).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    server.expect_event(Event::Waits).await;
    socket.shutdown(Shutdown::Write).unwrap();
    server.expect_event(Event::Dropped).await;
    let saw_the_close_too_early = looked.recv().unwrap();
    assert!(!saw_the_close_too_early);
    until(BOUND, || matches!(socket.peek(&mut [0]), Ok(0))).await;
}
