//! Which connections a fault meets.
use reqscope_testkit::Direction::{Both, ToClient};
use reqscope_testkit::Script;
use tokio::net::TcpStream;

use super::ends::{Net, Seen, ask, before_a_line_server, end, passes};

#[tokio::test]
async fn what_is_told_to_the_open_ones_does_not_meet_those_to_come() {
    let net = Net::new().await;
    let (mut first, _one) = net.connect().await;
    let (mut second, _other) = net.connect().await;
    net.proxy.open().reset();
    assert_eq!((end(&mut first).await, end(&mut second).await), (Seen::Reset, Seen::Reset));
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"new").await;
}

#[tokio::test]
async fn what_is_told_to_those_to_come_does_not_meet_the_open_ones() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.coming().reset();
    for _ in 0..2 {
        assert_eq!(end(&mut net.client().await).await, Seen::Reset);
    }
    passes(&mut client, &mut server, b"old").await;
    net.proxy.coming().heal();
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"new").await;
}

#[tokio::test]
async fn what_is_told_to_all_meets_both() {
    let net = Net::new().await;
    let (mut open, _server) = net.connect().await;
    net.proxy.all().cut();
    assert_eq!(end(&mut open).await, Seen::Fin);
    assert_eq!(end(&mut net.client().await).await, Seen::Fin);
}

#[tokio::test]
async fn the_nth_is_met_whether_it_is_open_or_to_come() {
    let net = Net::new().await;
    let (mut zero, mut server) = net.connect().await;
    let (mut one, _server) = net.connect().await;
    net.proxy.nth(1).reset();
    net.proxy.nth(3).cut();
    assert_eq!(end(&mut one).await, Seen::Reset);
    let (mut two, mut other) = net.connect().await;
    assert_eq!(end(&mut net.client().await).await, Seen::Fin);
    passes(&mut zero, &mut server, b"0").await;
    passes(&mut two, &mut other, b"2").await;
    net.proxy.nth(1).reset(); // it has gone
}

#[tokio::test]
async fn the_next_ones_are_met_in_turn_and_those_behind_them_as_all_to_come() {
    let proxy = before_a_line_server().await;
    proxy.coming().stall(ToClient);
    proxy.next().cut();
    proxy.next().reset();
    proxy.next().play(Script::new());
    assert_eq!(end(&mut TcpStream::connect(proxy.addr()).await.unwrap()).await, Seen::Fin);
    assert_eq!(end(&mut TcpStream::connect(proxy.addr()).await.unwrap()).await, Seen::Reset);
    let mut third = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut third, "c").await.unwrap(), "C\n");
    let mut fourth = TcpStream::connect(proxy.addr()).await.unwrap();
    let (answer, ()) = tokio::join!(ask(&mut fourth, "d"), async {
        let held = proxy.until(std::time::Duration::from_secs(20), |traffic| traffic.from_server == 4).await;
        assert_eq!(held.to_client, 2);
        proxy.nth(3).heal();
    });
    assert_eq!(answer.unwrap(), "D\n");
}

#[tokio::test]
async fn an_idle_pool_is_black_holed_and_new_connections_work() {
    let net = Net::new().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(net.connect().await);
    }
    net.proxy.open().black_hole(Both);
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"new").await;
    drop(idle);
    let traffic = net.until(|traffic| traffic.left_by_client == 10).await;
    assert_eq!((traffic.open, traffic.swallowed), (11, 0));
}
