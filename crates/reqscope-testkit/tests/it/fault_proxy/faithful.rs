//! Without a fault the proxy is transparent.
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use reqscope_testkit::{Direction, FaultProxy, Traffic, expect_panic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;

use super::ends::{BOUND, Net, Seen, ask, before_a_line_server, end, meets, passes, reset, rest};

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"question").await;
    let traffic = net.proxy.traffic();
    assert_eq!((traffic.from_client, traffic.to_server), (8, 8), "a byte that was received is counted");
    passes(&mut server, &mut client, b"yes").await;
    let traffic = net.proxy.traffic();
    assert_eq!((traffic.from_server, traffic.to_client), (3, 3));
    assert_eq!((traffic.accepted, traffic.open, traffic.swallowed, traffic.unreachable), (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_get_their_own_answers() {
    let proxy = before_a_line_server().await;
    let talks = (0..20).map(|number| {
        let addr = proxy.addr();
        tokio::spawn(async move {
            let mut client = TcpStream::connect(addr).await.unwrap();
            for round in 0..20 {
                let answer = ask(&mut client, &format!("q{number} {round}")).await.unwrap();
                assert_eq!(answer, format!("Q{number} {round}\n"));
            }
        })
    });
    for talk in talks.collect::<Vec<_>>() {
        talk.await.unwrap();
    }
    let traffic = proxy.until(BOUND, |traffic| traffic.open == 0).await;
    assert_eq!((traffic.accepted, traffic.left_by_client, traffic.left_by_server), (20, 20, 20));
}

#[tokio::test]
async fn fin_of_the_client_is_forwarded() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    client.write_all(b"all of it").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (b"all of it".to_vec(), Seen::Fin));
    passes(&mut server, &mut client, b"reply").await;
    drop(server);
    assert_eq!(end(&mut client).await, Seen::Fin);
    net.empty().await;
}

#[tokio::test]
async fn fin_of_the_server_is_forwarded() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    server.shutdown().await.unwrap();
    assert_eq!(end(&mut client).await, Seen::Fin);
    passes(&mut client, &mut server, b"still here").await;
    drop(client);
    assert_eq!(end(&mut server).await, Seen::Fin);
    net.empty().await;
}

#[tokio::test]
async fn reset_is_forwarded_as_a_reset() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    reset(client);
    assert_eq!(end(&mut server).await, Seen::Reset);
    let (mut client, server) = net.connect().await;
    reset(server);
    assert_eq!(end(&mut client).await, Seen::Reset);
    net.empty().await;
}

#[tokio::test]
async fn bytes_sent_before_a_reset_arrive_before_it() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().delay(Direction::ToServer, Duration::from_millis(1));
    client.write_all(b"last words").await.unwrap();
    net.until(|traffic| traffic.from_client == 10).await;
    reset(client);
    assert_eq!(rest(&mut server).await, (b"last words".to_vec(), Seen::Reset));
}

#[tokio::test]
async fn reset_after_a_fin_is_forwarded() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    client.shutdown().await.unwrap();
    net.until(|traffic| traffic.left_by_client == 1).await;
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    reset(client);
    net.empty().await;
    assert!(server.write_all(b"answer").await.is_err(), "the peer is gone");
}

#[tokio::test]
async fn write_to_a_closed_peer_is_reset() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    drop(client);
    assert_eq!(end(&mut server).await, Seen::Fin);
    server.write_all(b"are you there?").await.unwrap();
    net.empty().await;
    assert!(server.write_all(b"hello?").await.is_err());
}

#[tokio::test]
async fn slow_receiver_slows_the_sender_down() {
    const MUCH: u64 = 16 * 1024 * 1024;
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    let sending = tokio::spawn(async move {
        client.write_all(&vec![7; MUCH as usize]).await.unwrap();
        client
    });
    let mut most = 0;
    let all = net.until(|traffic| {
        most = most.max(traffic.from_client - traffic.to_server);
        traffic.to_server == MUCH
    });
    let reading = async {
        let mut chunk = [0; 1024];
        while server.read(&mut chunk).await.unwrap() > 0 {}
    };
    tokio::select! {
        _ = all => {}
        () = reading => panic!("the client has not closed"),
    }
    assert!(most <= 64 * 1024, "it held {most} bytes");
    drop(sending.await.unwrap());
}

/// Returns a port that is reserved and not listening.
fn reserved_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[tokio::test]
async fn reset_by_a_receiver_that_does_not_read_is_forwarded() {
    let net = Net::new().await;
    let (client, server) = net.connect().await;
    let (mut reader, mut writer) = client.into_split();
    let writing = tokio::spawn(async move { writer.write_all(&vec![7; 64 * 1024 * 1024]).await });
    let held = |traffic: &Traffic| traffic.from_client - traffic.to_server == 64 * 1024;
    net.until(|traffic| traffic.to_server > 1024 * 1024 && held(traffic)).await;
    reset(server);
    assert_eq!(reader.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(writing.await.unwrap().is_err());
}

/// The system reports a reset once, and here it reports it to the direction that writes.
#[tokio::test]
async fn reset_noticed_by_a_write_is_forwarded() {
    const HELD: usize = 64 * 1024;
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(Direction::ToClient);
    server.write_all(&[7; 2 * HELD]).await.unwrap();
    net.until(|traffic| traffic.from_server == HELD as u64).await; // it reads no more
    reset(server);
    client.write_all(b"question").await.unwrap();
    net.until(|traffic| (traffic.swallowed, traffic.left_by_server) == (8, 1)).await;
    net.proxy.open().heal();
    assert_eq!(rest(&mut client).await, (vec![7; HELD], Seen::Reset));
}

#[tokio::test]
async fn client_of_an_unreachable_server_is_reset() {
    let (_reserved, addr) = reserved_port();
    let proxy = FaultProxy::start(addr).unwrap();
    assert_eq!(meets(proxy.addr()).await, Seen::Reset);
    let traffic = proxy.until(BOUND, |traffic| traffic.open == 0).await;
    assert_eq!((traffic.accepted, traffic.unreachable), (1, 1));
}

#[tokio::test]
async fn server_that_starts_later_is_found() {
    let (later, addr) = reserved_port();
    let proxy = FaultProxy::start(addr).unwrap();
    assert_eq!(meets(proxy.addr()).await, Seen::Reset);
    let listener = later.listen(8).unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    passes(&mut client, &mut server, b"hello").await;
}

#[tokio::test]
async fn drop_ends_connections_and_frees_the_port() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    let addr = net.proxy.addr();
    drop(net);
    // There was no await, so the runtime has not run since.
    assert!(std::net::TcpStream::connect(addr).is_err(), "the port is closed at once");
    assert_eq!(end(&mut client).await, Seen::Fin);
    assert_eq!(end(&mut server).await, Seen::Fin);
    drop((client, server));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "tasks are left");
}

#[test]
fn proxy_can_be_dropped_after_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let net = runtime.block_on(Net::new());
    let ends = runtime.block_on(net.connect());
    drop(runtime);
    assert_eq!(net.proxy.traffic().open, 0);
    net.proxy.all().reset();
    drop((net, ends));
}

#[test]
fn failed_wait_panics_with_the_line_of_its_caller() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let net = runtime.block_on(Net::new());
    let message = expect_panic(|| runtime.block_on(net.until(|traffic| traffic.accepted == 1)));
    assert!(message.contains("faithful.rs:"), "{message}");
}
