//! Single faults, seen from both ends, and what heals them.
use std::io::ErrorKind;
use std::time::Duration;

use reqscope_testkit::Direction::{Both, ToClient, ToServer};
use reqscope_testkit::{FaultProxy, Script};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, pause};

use super::ends::{Net, Seen, ask, before_a_line_server, end, passes, rest};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn cut_is_a_fin_to_both_ends() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"before").await;
    net.proxy.open().cut();
    assert_eq!(end(&mut client).await, Seen::Fin);
    assert_eq!(end(&mut server).await, Seen::Fin);
    net.empty().await;
}

#[tokio::test]
async fn cut_is_a_fin_to_a_sender_with_unread_bytes() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(ToServer);
    client.write_all(&[7; 128 * 1024]).await.unwrap();
    net.until(|traffic| traffic.from_client == 64 * 1024).await;
    net.proxy.open().cut();
    net.empty().await;
    assert_eq!(end(&mut client).await, Seen::Fin);
    assert!(client.take_error().unwrap().is_none(), "no reset came after the FIN");
    assert_eq!(end(&mut server).await, Seen::Fin);
}

#[tokio::test]
async fn cut_is_a_fin_to_a_sender_that_goes_on_writing() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    let (mut reader, mut writer) = client.into_split();
    net.proxy.open().stall(ToServer);
    let writing = tokio::spawn(async move { writer.write_all(&vec![7; 64 * 1024 * 1024]).await });
    net.until(|traffic| traffic.from_client == 64 * 1024).await;
    net.proxy.open().cut();
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    assert!(writing.await.unwrap().is_err());
    assert_eq!(end(&mut server).await, Seen::Fin);
}

#[tokio::test]
async fn reset_is_a_reset_to_both_ends() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"before").await;
    net.proxy.open().reset();
    assert_eq!(end(&mut client).await, Seen::Reset);
    assert_eq!(end(&mut server).await, Seen::Reset);
    net.empty().await;
}

#[tokio::test]
async fn stalled_bytes_arrive_when_healed() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(Both);
    client.write_all(b"question").await.unwrap();
    server.write_all(b"notice").await.unwrap();
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    let all_read = net.until(|traffic| (traffic.left_by_client, traffic.left_by_server) == (1, 1)).await;
    assert_eq!((all_read.from_client, all_read.from_server, all_read.open), (8, 6, 1));
    assert_eq!((all_read.to_server, all_read.to_client), (0, 0));
    net.proxy.open().heal();
    assert_eq!(rest(&mut server).await, (b"question".to_vec(), Seen::Fin));
    assert_eq!(rest(&mut client).await, (b"notice".to_vec(), Seen::Fin));
    net.empty().await;
}

#[tokio::test]
async fn stall_holds_bytes_and_a_fin_back() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(Both);
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    net.until(|traffic| traffic.left_by_client == 1).await;
    net.proxy.open().reset();
    assert_eq!(end(&mut server).await, Seen::Reset, "the first thing that it sees");
    assert_eq!(end(&mut client).await, Seen::Reset);
}

#[tokio::test]
async fn stall_holds_a_reset_back() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    net.proxy.open().stall(ToServer);
    super::ends::reset(client);
    let traffic = net.until(|traffic| traffic.left_by_client == 1).await;
    assert_eq!(traffic.open, 1);
    net.proxy.open().cut();
    assert_eq!(end(&mut server).await, Seen::Fin, "the first thing that it sees");
}

#[tokio::test]
async fn stall_of_one_direction_spares_the_other() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(ToClient);
    server.write_all(b"answer").await.unwrap();
    passes(&mut client, &mut server, b"question").await;
    net.until(|traffic| traffic.from_server == 6).await;
    net.proxy.open().reset();
    assert_eq!(end(&mut client).await, Seen::Reset);
}

#[tokio::test]
async fn black_hole_answers_nothing_not_even_a_fin() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().black_hole(Both);
    client.write_all(b"question").await.unwrap();
    server.write_all(b"notice").await.unwrap();
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    let both_left = net.until(|t| (t.left_by_client, t.left_by_server, t.swallowed) == (1, 1, 14)).await;
    assert_eq!((both_left.open, both_left.to_server, both_left.to_client), (1, 0, 0));
    net.proxy.open().heal(); // does not help
    net.proxy.open().half_close(Both); // nor does this
    passes_nothing(&net, &mut client, &mut server).await;
}

/// Resets, and expects both ends to see nothing before.
async fn passes_nothing(net: &Net, client: &mut TcpStream, server: &mut TcpStream) {
    let other = net.connect().await; // the proxy has run meanwhile
    net.proxy.nth(0).reset();
    assert_eq!(end(client).await, Seen::Reset);
    assert_eq!(end(server).await, Seen::Reset);
    drop(other);
}

#[tokio::test]
async fn black_hole_swallows_a_reset() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    net.proxy.open().black_hole(Both);
    super::ends::reset(client);
    let traffic = net.until(|traffic| traffic.left_by_client == 1).await;
    assert_eq!(traffic.open, 1);
    net.proxy.open().cut();
    assert_eq!(end(&mut server).await, Seen::Fin, "the first thing that it sees");
}

#[tokio::test]
async fn connection_into_a_black_hole_never_reaches_the_server() {
    let net = Net::new().await;
    net.proxy.next().black_hole(Both);
    let mut lost = net.client().await;
    lost.write_all(&[7; 256 * 1024]).await.unwrap();
    net.until(|traffic| traffic.swallowed == 256 * 1024).await;
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"the first connection of the server").await;
    net.proxy.nth(0).cut();
    assert_eq!(end(&mut lost).await, Seen::Fin);
}

#[tokio::test]
async fn black_hole_of_one_direction_loses_answers_only() {
    let net = Net::new().await;
    net.proxy.next().black_hole(ToClient);
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"COMMIT").await;
    server.write_all(b"OK").await.unwrap();
    drop(server);
    net.until(|traffic| (traffic.swallowed, traffic.left_by_server) == (2, 1)).await;
    net.proxy.open().reset();
    assert_eq!(end(&mut client).await, Seen::Reset, "the first thing that it sees");
}

#[tokio::test]
async fn delay_makes_bytes_late() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().delay(ToServer, HOUR);
    let began = Instant::now();
    passes(&mut server, &mut client, b"not delayed").await;
    assert!(began.elapsed() < HOUR);
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    net.until(|traffic| traffic.left_by_client == 1).await;
    pause();
    assert_eq!(late(&mut server).await, (b"question".to_vec(), Seen::Fin));
    assert!(began.elapsed() >= HOUR, "it took {:?}", began.elapsed());
    assert!(began.elapsed() < 2 * HOUR, "a latency, not a rate: {:?}", began.elapsed());
}

#[tokio::test]
async fn delay_makes_a_fin_late() {
    let net = Net::new().await;
    let (client, mut server) = net.connect().await;
    net.proxy.open().delay(ToServer, HOUR);
    let began = Instant::now();
    drop(client);
    net.until(|traffic| traffic.left_by_client == 1).await;
    pause();
    assert_eq!(late(&mut server).await, (Vec::new(), Seen::Fin));
    assert!(began.elapsed() >= HOUR, "it took {:?}", began.elapsed());
}

/// Reads like `rest`, without its bound.
async fn late(stream: &mut TcpStream) -> (Vec<u8>, Seen) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    (bytes, Seen::Fin)
}

#[tokio::test]
async fn delayed_bytes_arrive_when_healed() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().delay(Both, Duration::MAX);
    client.write_all(b"question").await.unwrap();
    net.until(|traffic| traffic.from_client == 8).await;
    net.proxy.open().heal();
    passes(&mut client, &mut server, b"").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (b"question".to_vec(), Seen::Fin));
}

#[tokio::test]
async fn half_close_ends_one_direction_only() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().half_close(ToClient);
    assert_eq!(end(&mut client).await, Seen::Fin);
    passes(&mut client, &mut server, b"received").await;
    server.write_all(b"swallowed").await.unwrap();
    net.until(|traffic| traffic.swallowed == 9).await;
    drop(client);
    assert_eq!(end(&mut server).await, Seen::Fin);
    drop(server);
    net.empty().await;
}

#[tokio::test]
async fn half_close_of_both_directions_keeps_the_sockets() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().half_close(Both);
    assert_eq!((end(&mut client).await, end(&mut server).await), (Seen::Fin, Seen::Fin));
    client.write_all(b"swallowed").await.unwrap();
    server.write_all(b"likewise").await.unwrap();
    let traffic = net.until(|traffic| traffic.swallowed == 17).await;
    assert_eq!(traffic.open, 1);
    drop((client, server));
    net.empty().await;
}

#[tokio::test]
async fn half_close_of_both_directions_ends_a_stalled_connection() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().stall(Both);
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    net.until(|traffic| (traffic.left_by_client, traffic.left_by_server) == (1, 1)).await;
    net.proxy.open().play(Script::new().stall(Both).half_close(Both));
    net.empty().await;
    assert_eq!((end(&mut client).await, end(&mut server).await), (Seen::Fin, Seen::Fin));
}

#[tokio::test]
async fn half_close_to_the_server_lets_its_answer_pass() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().half_close(ToServer);
    assert_eq!(end(&mut server).await, Seen::Fin);
    passes(&mut server, &mut client, b"answer").await;
}

#[tokio::test]
async fn refusing_proxy_keeps_open_connections() {
    let proxy = before_a_line_server().await;
    let addr = proxy.addr();
    let mut before = TcpStream::connect(addr).await.unwrap();
    assert_eq!(ask(&mut before, "a").await.unwrap(), "A\n");
    for _ in 0..3 {
        proxy.refuse().unwrap();
        proxy.refuse().unwrap(); // a second call changes nothing
        assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(ask(&mut before, "b").await.unwrap(), "B\n");
        proxy.heal().unwrap();
        let mut after = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(&mut after, "c").await.unwrap(), "C\n");
    }
    assert_eq!(proxy.addr(), addr);
    assert_eq!(proxy.traffic().accepted, 4);
}

#[tokio::test]
async fn refusing_proxy_keeps_its_port() {
    let proxy = FaultProxy::start("127.0.0.1:9").unwrap();
    proxy.refuse().unwrap();
    let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    assert_eq!(thief.bind(&proxy.addr().into()).unwrap_err().kind(), ErrorKind::AddrInUse);
    proxy.heal().unwrap();
}

#[tokio::test]
async fn heal_of_the_proxy_ends_all_faults() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.all().stall(Both);
    net.proxy.next().reset();
    net.proxy.nth(2).play(Script::new().cut());
    net.proxy.refuse().unwrap();
    net.proxy.heal().unwrap();
    passes(&mut client, &mut server, b"open").await;
    for _ in 0..3 {
        let (mut client, mut server) = net.connect().await;
        passes(&mut client, &mut server, b"new one").await;
    }
}
