//! TLS with tokio-rustls above the watch, over HTTP/1 and HTTP/2 as negotiated by ALPN.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqscope_hyper::RequestExt;
use reqscope_testkit::Probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{Answer, Context, Server, Setup, full};

/// Returns an acceptor for both protocols, and a connector that trusts it and offers `alpn`.
fn tls(alpn: &[u8]) -> (TlsAcceptor, TlsConnector) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    (Arc::new(server).into(), Arc::new(client).into())
}

async fn waits(request: Request<Incoming>, context: Context) -> Answer {
    context.wait(request.scope().clone()).await;
    Ok(http::Response::new(full(format!("{:?}", request.version()))))
}

async fn start(acceptor: TlsAcceptor) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handshake = move |socket: TcpStream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(socket).await }
    };
    (Server::start_with_handshake(listener, handshake, Setup::default(), Probe::new(), waits), address)
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("https://localhost/").header("host", "localhost").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http1_is_served() {
    let (acceptor, connector) = tls(b"http/1.1");
    let (server, address) = start(acceptor).await;
    server.open_gate();
    let io = connect(&connector, address).await;
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    let client = tokio::spawn(connection);
    let response = sender.send_request(request()).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "HTTP/1.1");
    let report = server.stop().await;
    assert!(report.is_clean() && report.failed == 0, "{report:?}");
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_is_served() {
    let (acceptor, connector) = tls(b"h2");
    let (server, address) = start(acceptor).await;
    server.open_gate();
    let io = connect(&connector, address).await;
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    let client = tokio::spawn(connection);
    let response = sender.send_request(request()).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "HTTP/2.0");
    let report = server.stop().await;
    assert!(report.is_clean() && report.failed == 0, "{report:?}");
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn client_without_tls_is_rejected_and_counted() {
    let (acceptor, connector) = tls(b"http/1.1");
    let (server, address) = start(acceptor).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    plain.read_to_end(&mut Vec::new()).await.ok();
    drop(connect(&connector, address).await);
    let report = server.stop().await;
    assert_eq!((report.handshakes_failed, report.failed), (1, 0), "{report:?}");
}

#[cfg(not(reqscope_portable))]
mod with_the_watch {
    use super::*;
    use crate::support::Event;

    /// The second request is unread in the buffers of TLS, so hyper does not read on, and the FIN comes without a
    /// `close_notify` of TLS. The watch is below all of that.
    #[tokio::test]
    async fn watch_works_below_tls() {
        let (acceptor, connector) = tls(b"http/1.1");
        let (mut server, address) = start(acceptor).await;
        let mut io = connect(&connector, address).await;
        io.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        server.expect_event(Event::Waits).await;
        drop(io);
        server.expect_handler_dropped().await;
        assert_eq!(server.stop().await.hung_up, 1);
    }
}
