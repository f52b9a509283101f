//! The example with TLS.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::process::{Server, example};

#[test]
fn tls_serves_and_ends_a_visit_when_its_client_has_gone() {
    let server = Server::start(example("tls").arg("0"));
    let pem = server.line.rsplit(' ').next().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let address = server.address.clone();
    let connect = || {
        let connection = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(connection, TcpStream::connect(&address).unwrap())
    };

    let mut visitor = connect();
    write!(visitor, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 over TLSv1_3 to 127.0.0.1:"), "{answer}");
    assert_eq!([server.next_line(), server.next_line()], ["a visit", "it is over: completed"]);

    let mut impatient = connect();
    write!(impatient, "GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    impatient.flush().unwrap();
    assert_eq!(server.next_line(), "a visit");
    drop(impatient);
    assert_eq!(server.next_line(), "it is over: cancelled");
    let (status, output) = server.interrupt();
    assert!(status.success(), "{output}");
}
