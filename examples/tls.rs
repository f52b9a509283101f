//! HTTPS, over HTTP/1 and HTTP/2. The server notices when a client leaves, whatever TLS has in its buffers.
//!
//! ```text
//! cargo run -p reqscope-examples --no-default-features --features tls --example tls -- 8443
//! ```
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rcgen::CertifiedKey;
use reqscope::{Error, Resource, Scopes, resource_fn};
use reqscope_hyper::{Connection, Handshake, RequestExt, ScopeService, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

type AnyError = Box<dyn std::error::Error>;

/// Performs the TLS handshake, in each connection's own task and under a timeout.
///
/// The watch for clients that leave is below it, on the TCP socket.
#[derive(Clone)]
struct Tls(TlsAcceptor);

impl Handshake<TcpStream> for Tls {
    type Io = TlsStream<TcpStream>;

    async fn handshake(&self, socket: TcpStream, extensions: &mut Extensions) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.0.accept(socket).await?;
        // Each request of this connection has it in its extensions. A client's certificate would be passed like this.
        extensions.insert(stream.get_ref().1.protocol_version().expect("the handshake has chosen one"));
        Ok(stream)
    }
}

/// Answers a request. `/slow` takes a minute: stop curl meanwhile, and the visit is over at once.
async fn answer<R: Resource>(request: Request<Incoming>, visit: Arc<R>) -> Result<Response<String>, Error<R::Cause>> {
    let _visit = request.scope().lazy(&visit).get().await?;
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let peer = request.extensions().get::<Connection>().expect("`serve` puts it there").peer();
    let tls = request.extensions().get::<ProtocolVersion>().expect("the handshake puts it there");
    Ok(Response::new(format!("{:?} over {tls:?} to {peer}\n", request.version())))
}

/// Creates a self-signed certificate, for this example only. A real one is read from files.
fn certificate(pem: &std::path::Path) -> Result<TlsAcceptor, AnyError> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([String::from("localhost")])?;
    std::fs::write(pem, cert.pem())?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()]; // both are served
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let folder = tempfile::tempdir()?;
    let pem = folder.path().join("certificate.pem");
    let tls = Tls(certificate(&pem)?);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("try: curl https://localhost:{}/slow --cacert {}", listener.local_addr()?.port(), pem.display());

    let visit = resource_fn(|| async {
        println!("a visit");
        Ok::<_, Error<Infallible>>(())
    });
    let visit = visit.on_release(|(), exit| async move {
        println!("it is over: {exit}");
        Ok(())
    });
    let (scopes, visit) = (Scopes::new(), Arc::new(visit));
    let service = ScopeService::new(&scopes, service_fn(move |request| answer(request, Arc::clone(&visit))));
    let ctrl_c = async { tokio::signal::ctrl_c().await.expect("the handler of ctrl-c can be set") };
    let server = serve(listener, service, &scopes).handshake(tls).on_event(|event| eprintln!("{event:?}"));
    println!("{:?}", server.graceful(ctrl_c).await);
    Ok(())
}
