//! Handshakes: what happens on a connection before HTTP is spoken.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::Scopes;
use reqscope_hyper::{Handshake, ServeEvent, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use crate::support::{InMemory, Serving, Step};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The byte that the client sent first.
#[derive(Clone, Copy)]
struct Greeting(u8);

/// A handshake that reads one byte and rejects `x`.
#[derive(Clone)]
struct Greeted;

impl<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static> Handshake<Io> for Greeted {
    type Io = Io;

    async fn handshake(&self, mut socket: Io, extensions: &mut Extensions) -> io::Result<Io> {
        let byte = socket.read_u8().await?;
        if byte == b'x' {
            return Err(io::Error::other("not welcome"));
        }
        extensions.insert(Greeting(byte));
        Ok(socket)
    }
}

type Failures = Arc<Mutex<Vec<String>>>;

/// Starts a server that responds with the byte of the greeting. Also returns the failed handshakes it reports.
fn greeting(ios: impl IntoIterator<Item = DuplexStream>) -> (Serving, Failures) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let Greeting(byte) = *request.extensions().get().unwrap();
        Ok::<_, Infallible>(Response::new(format!("greeted by {}", char::from(byte))))
    });
    let failures = Failures::default();
    let reported = Arc::clone(&failures);
    let listener = InMemory::new(ios.into_iter().map(Step::Accepts));
    let server = serve(listener, service, &Scopes::new())
        .handshake(Greeted)
        .handshake_timeout(Duration::from_secs(3))
        .on_event(move |event| {
            let ServeEvent::HandshakeFailed(error) = event else { panic!("not a failed handshake: {event:?}") };
            reported.lock().unwrap().push(error.to_string());
        });
    (Serving::start(|signal| server.graceful(signal).into_future()), failures)
}

async fn answer(client: &mut DuplexStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn extensions_are_added_to_each_request() {
    let (mut client, io) = duplex(1024);
    let (serving, _failures) = greeting([io]);
    client.write_all(b"aGET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.matches("greeted by a").count(), 2);
    assert!(serving.stop().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn failed_handshake_closes_its_connection_and_is_reported() {
    let (mut unwelcome, first) = duplex(1024);
    let (mut client, second) = duplex(1024);
    let (serving, failures) = greeting([first, second]);
    unwelcome.write_all(b"x").await.unwrap();
    assert_eq!(answer(&mut unwelcome).await, "");
    client.write_all(format!("b{GET}").as_bytes()).await.unwrap();
    assert!(answer(&mut client).await.ends_with("greeted by b"));
    let report = serving.stop().await;
    assert_eq!((report.connections, report.handshakes_failed, report.failed), (2, 1, 0), "{report:?}");
    assert_eq!(*failures.lock().unwrap(), ["not welcome"]);
}

#[tokio::test(start_paused = true)]
async fn slow_handshake_times_out_and_delays_no_other_client() {
    let (mut slow, first) = duplex(1024);
    let (mut client, second) = duplex(1024);
    let (serving, failures) = greeting([first, second]);
    let began = Instant::now();
    client.write_all(format!("b{GET}").as_bytes()).await.unwrap();
    assert!(answer(&mut client).await.ends_with("greeted by b"));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(answer(&mut slow).await, "");
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(serving.stop().await.handshakes_failed, 1);
    assert!(failures.lock().unwrap()[0].contains("no handshake within 3s"), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_handshake() {
    let (mut slow, io) = duplex(1024);
    let (serving, failures) = greeting([io]);
    tokio::task::yield_now().await;
    let began = Instant::now();
    let report = serving.stop().await;
    assert_eq!(answer(&mut slow).await, "");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(report.is_clean() && report.handshakes_failed == 0, "{report:?}");
    assert!(failures.lock().unwrap().is_empty());
}

/// The time for the first request starts at the accept, and is not restarted by the handshake.
#[tokio::test(start_paused = true)]
async fn handshake_counts_towards_the_first_request_timeout() {
    let (mut client, io) = duplex(1024);
    let service = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let server = serve(InMemory::new([Step::Accepts(io)]), service, &Scopes::new())
        .handshake(|io: DuplexStream| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Ok(io)
        })
        .first_request_timeout(Duration::from_secs(12));
    let serving = Serving::start(|signal| server.graceful(signal).into_future());
    let began = Instant::now();
    assert_eq!(answer(&mut client).await, "");
    assert_eq!(began.elapsed().as_secs(), 12);
    assert_eq!(serving.stop().await.failed, 1);
}

#[cfg(not(reqscope_portable))]
mod with_the_watch {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;
    use crate::support::Client;

    #[tokio::test]
    async fn handshake_is_dropped_when_the_peer_disconnects() {
        struct ReportsDrop(mpsc::UnboundedSender<&'static str>);
        impl Drop for ReportsDrop {
            fn drop(&mut self) {
                self.0.send("dropped").unwrap();
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, mut said) = mpsc::unbounded_channel();
        let service = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let server = serve(listener, service, &Scopes::new()).handshake(move |socket: TcpStream| {
            let says = ReportsDrop(say.clone());
            async move {
                says.0.send("begun").unwrap();
                std::future::pending::<()>().await;
                drop(says);
                Ok(socket)
            }
        });
        let serving = Serving::start(|signal| server.graceful(signal).into_future());
        let client = Client::connect(address).await;
        assert_eq!(said.recv().await, Some("begun"));
        client.fin();
        assert_eq!(said.recv().await, Some("dropped"));
        let report = serving.stop().await;
        assert_eq!((report.hung_up, report.handshakes_failed), (1, 0), "{report:?}");
    }
}
