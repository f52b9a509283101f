//! Dead peers on real sockets. The client's socket gets a filter that drops every packet, so it answers nothing, not
//! even with a reset. The timers are the kernel's, whose smallest value is a second.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use reqscope::{Exit, Scopes};
use reqscope_hyper::{Listener, RequestExt, ServeMetrics, Tcp, serve};
use reqscope_testkit::{Probe, expect_panic, until};
use socket2::{SockFilter, SockRef};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Answer, BOUND, Context, Event, Server, Serving, Setup, full};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

async fn bind() -> (Tcp, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Tcp::new(listener), address)
}

/// Makes the kernel drop every packet to this socket from now on.
fn kill_silently(client: &TcpStream) {
    const BPF_RET: u16 = 0x06;
    SockRef::from(client).attach_filter(&[SockFilter::new(BPF_RET, 0, 0, 0)]).unwrap();
}

async fn accepted<L: Listener<Io = TcpStream>>(listener: &mut L, address: std::net::SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).await.unwrap();
    let (socket, _peer) = listener.accept().await.unwrap();
    drop(client);
    socket
}

#[tokio::test]
async fn plain_listener_sets_the_default_options() {
    let (mut tcp, address) = bind().await;
    let by_default = accepted(&mut tcp, address).await;
    let mut bare = tcp.into_inner();
    let by_bare = accepted(&mut bare, address).await;
    for socket in [by_default, by_bare] {
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), 30 * SECOND);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), 10 * SECOND);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(60 * SECOND));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16 << 10);
    }
}

#[tokio::test]
async fn options_are_set_on_the_socket() {
    let (tcp, address) = bind().await;
    let mut tcp = tcp
        .keepalive_idle(4 * SECOND)
        .keepalive_interval(2 * SECOND)
        .keepalive_count(5)
        .user_timeout(Some(Duration::from_millis(2500)))
        .notsent_lowat(Some(1 << 20));
    let socket = accepted(&mut tcp, address).await;
    let socket = SockRef::from(&socket);
    assert_eq!(socket.tcp_keepalive_time().unwrap(), 4 * SECOND);
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), 2 * SECOND);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(2500)));
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 1 << 20);

    let by_system = SockRef::from(tcp.get_ref()).tcp_notsent_lowat().unwrap();
    let mut tcp = tcp.keepalive(false).user_timeout(None).notsent_lowat(None);
    let socket = accepted(&mut tcp, address).await;
    let socket = SockRef::from(&socket);
    assert!(!socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), by_system);
}

/// The kernel once took up to 4 MB of a response for a client that had read nothing, and then asked for no more until a
/// third of that was read. A reader of 40 kB per second looked as if it had stalled.
#[tokio::test]
async fn kernel_takes_little_ahead_of_a_slow_reader() {
    let (mut tcp, address) = bind().await;
    let _unread = TcpStream::connect(address).await.unwrap();
    let (socket, _peer) = tcp.accept().await.unwrap();
    let mut taken = 0;
    loop {
        match socket.try_write(&[0; 16 << 10]) {
            Ok(bytes) => taken += bytes,
            // The client's kernel acknowledges what it takes at once, so nothing more fits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match timeout(SECOND / 5, socket.writable()).await {
                    Ok(writable) => writable.unwrap(),
                    Err(_nothing_was_read) => break,
                }
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 1 << 20, "the kernel takes megabytes");
    }
}

#[tokio::test]
async fn values_that_the_kernel_does_not_accept_panic() {
    let (tcp, _address) = bind().await;
    let message = expect_panic(|| tcp.keepalive_idle(Duration::from_millis(999)));
    assert!(message.contains("the kernel accepts from 1 to 32767 s"), "{message}");
    let (tcp, _address) = bind().await;
    let message = expect_panic(|| tcp.keepalive_count(128));
    assert!(message.contains("the kernel accepts from 1 to 127 probes"), "{message}");
}

/// The kernel gives the peer up after its count of probes, or after the user timeout, which replaces the count.
#[tokio::test]
async fn peer_that_dies_while_its_handler_waits_is_noticed() {
    async fn waits(request: Request<Incoming>, context: Context) -> Answer {
        context.wait(request.scope().clone()).await;
        Ok(Response::new(full("done")))
    }
    for user_timeout in [None, Some(2 * SECOND)] {
        let (tcp, address) = bind().await;
        let tcp = tcp
            .keepalive_idle(SECOND)
            .keepalive_interval(SECOND)
            .keepalive_count(if user_timeout.is_some() { 127 } else { 1 })
            .user_timeout(user_timeout);
        let mut server = Server::start_on(tcp, Setup::default(), Probe::new(), waits);
        let mut client = TcpStream::connect(address).await.unwrap();
        // The second request stays unread, so hyper does not read on.
        client.write_all(&[GET, GET].concat()).await.unwrap();
        server.expect_event(Event::Waits).await;
        kill_silently(&client);
        server.expect_event(Event::Dropped).await;
        server.expect_released(Exit::Cancelled).await;
        assert_eq!(server.stop().await.hung_up, 1);
    }
}

/// Starts a server whose responses have so many bytes.
fn answering(tcp: Tcp, bytes: usize) -> (Serving, ServeMetrics) {
    let service = service_fn(move |_: Request<Incoming>| async move {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![0; bytes]))))
    });
    let server = serve(tcp, service, &Scopes::new());
    let metrics = server.metrics();
    (Serving::start(|signal| server.graceful(signal).into_future()), metrics)
}

#[tokio::test]
async fn peer_that_dies_during_the_response_is_noticed() {
    let (tcp, address) = bind().await;
    let (_serving, metrics) = answering(tcp.keepalive(false).user_timeout(Some(SECOND)), 1 << 24);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(GET).await.unwrap();
    client.readable().await.unwrap();
    kill_silently(&client);
    until(BOUND, || metrics.connections() == 0).await;
}

/// The drawback that the docs mention.
#[tokio::test]
async fn peer_that_reads_nothing_for_the_user_timeout_is_cut() {
    let (tcp, address) = bind().await;
    let (_serving, metrics) = answering(tcp.keepalive(false).user_timeout(Some(SECOND)), 1 << 24);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(GET).await.unwrap();
    until(BOUND, || metrics.connections() == 1).await;
    until(BOUND, || metrics.connections() == 0).await;
}
