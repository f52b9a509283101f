//! Requests that end with a panic, an error or an upgrade.

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use reqscope::Exit;
use reqscope_hyper::RequestExt;
use reqscope_testkit::{Probe, Verb, quiet_panic, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, BOUND, Client, Context, Event, Server, Setup, empty, full};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn panic_ends_the_connection_and_closes_as_panicked() {
    async fn panics(request: Request<Incoming>, context: Context) -> Answer {
        let _handle = request.scope().lazy(&context.probe).get().await?;
        quiet_panic("in the handler")
    }
    let server = Server::start(Setup::default(), panics).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    assert!(client.read_to_end().await.is_empty());
    server.expect_released(Exit::Panicked).await;
    let report = server.stop().await;
    assert_eq!(report.panicked, 1);
    assert!(report.is_clean(), "a panic is not a leak: {report:?}");
}

/// The fault: the payload of the panic was dropped by the accept loop, which ended with a panic of its own.
#[tokio::test]
async fn panic_whose_payload_panics_leaves_the_server_running() {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("the payload of a panic goes off");
        }
    }

    async fn panics(request: Request<Incoming>, context: Context) -> Answer {
        let _handle = request.scope().lazy(&context.probe).get().await?;
        if context.probe.counts().acquired == 1 {
            std::panic::resume_unwind(Box::new(Bomb));
        }
        Ok(Response::new(full("second")))
    }
    let server = Server::start(Setup::default(), panics).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    assert!(client.read_to_end().await.is_empty());
    server.expect_released(Exit::Panicked).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    client.read_until("second").await;
    assert_eq!(server.stop().await.panicked, 1);
}

#[tokio::test]
async fn panic_over_http2_ends_only_its_request() {
    async fn panics(request: Request<Incoming>, context: Context) -> Answer {
        let _handle = request.scope().lazy(&context.probe).get().await?;
        if context.probe.counts().acquired == 1 {
            quiet_panic("in the first handler");
        }
        Ok(Response::new(full("second")))
    }
    let server = Server::start(Setup::default(), panics).await;
    let mut client = Client::connect(server.address).await;
    client.send(crate::http2::get()).await;
    server.expect_released(Exit::Panicked).await;
    client.send(crate::http2::get_on(3)).await;
    client.read_until("second").await;
    server.expect_released(Exit::Completed).await;
}

#[tokio::test]
async fn panic_in_a_body_ends_its_lease_as_panicked() {
    async fn panics(request: Request<Incoming>, context: Context) -> Answer {
        use http_body_util::BodyExt;
        let lease = reqscope::Guard::detach(request.scope().lazy(&context.probe).get().await?);
        let body = reqscope_hyper::LeaseBody::from_fn(lease, |lease| async move {
            if !lease.id().to_string().is_empty() {
                quiet_panic("in the body");
            }
            Ok::<_, std::convert::Infallible>((lease, Some(Bytes::new())))
        });
        Ok(Response::new(body.map_err(Into::into).boxed_unsync()))
    }
    let server = Server::start(Setup::default(), panics).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    client.read_to_end().await;
    server.expect_released(Exit::Panicked).await;
}

#[tokio::test]
async fn handler_error_ends_the_connection_and_fails_the_scope() {
    async fn fails(request: Request<Incoming>, context: Context) -> Answer {
        request.scope().lazy(&context.probe).get().await?.use_once();
        Err("no answer".into())
    }
    let server = Server::start(Setup::default(), fails).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    assert!(client.read_to_end().await.is_empty());
    server.expect_released(Exit::Failed).await;
    assert_eq!(server.stop().await.failed, 1);
}

/// The error may come from another socket that the handler uses, not from its client's.
#[tokio::test]
async fn handler_error_is_not_counted_as_a_disconnect() {
    async fn fails(_request: Request<Incoming>, _context: Context) -> Answer {
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
    }
    let server = Server::start(Setup::default(), fails).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    assert!(client.read_to_end().await.is_empty());
    let report = server.stop().await;
    assert_eq!((report.failed, report.hung_up), (1, 0), "{report:?}");
}

/// L11, over a socket.
#[tokio::test]
async fn failed_commit_is_a_500() {
    async fn commits(request: Request<Incoming>, context: Context) -> Answer {
        request.scope().lazy(&context.probe).get().await?.use_once();
        Ok(Response::new(full("committed")))
    }
    let probe = Probe::new().settling();
    probe.on(Verb::Release).error();
    let server = Server::start_with(Setup::default(), probe, commits).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    let answer = client.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}

/// A client that disconnects while its COMMIT runs cannot undo it.
#[tokio::test]
async fn disconnect_during_the_commit_does_not_stop_it() {
    async fn commits(request: Request<Incoming>, context: Context) -> Answer {
        request.scope().lazy(&context.probe).get().await?.use_once();
        Ok(Response::new(full("committed")))
    }
    let probe = Probe::new().settling();
    probe.on(Verb::Release).close();
    let server = Server::start_with(Setup::default(), probe.clone(), commits).await;
    let mut client = Client::connect(server.address).await;
    client.send(GET).await;
    until(BOUND, || probe.on(Verb::Release).waiting() == 1).await;
    client.fin();
    until(BOUND, || server.scopes.stats().open_scopes == 0).await;
    probe.on(Verb::Release).ok();
    server.expect_released(Exit::Completed).await;
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn scope_closes_at_101_and_the_upgrade_continues() {
    async fn upgrades(mut request: Request<Incoming>, context: Context) -> Answer {
        request.scope().lazy(&context.probe).get().await?.use_once();
        let scope = request.scope().clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            assert!(scope.is_closed());
            let mut byte = [0];
            while io.read(&mut byte).await.unwrap() == 1 {
                io.write_all(&byte).await.unwrap();
            }
            context.report(Event::Finished);
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.header(CONNECTION, "upgrade").header(UPGRADE, "echo").body(empty())?)
    }
    let mut server = Server::start(Setup::default(), upgrades).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    client.read_until("\r\n\r\n").await;
    server.expect_released(Exit::Completed).await;
    client.send("x").await;
    client.read_until("x").await;
    client.fin();
    server.expect_event(Event::Finished).await;
    assert!(server.stop().await.is_clean());
}

/// The watch holds a duplicate of the socket, which must be dropped with the connection.
#[tokio::test]
async fn dropped_upgraded_connection_is_closed() {
    async fn upgrades(mut request: Request<Incoming>, _context: Context) -> Answer {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move { drop(upgrade.await) });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.header(CONNECTION, "upgrade").header(UPGRADE, "none").body(empty())?)
    }
    let server = Server::start(Setup::default(), upgrades).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: none\r\n\r\n").await;
    client.read_to_end().await;
}
