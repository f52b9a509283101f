//! The connections that a fault is set for.
use std::time::Duration;

use reqscope_testkit::Direction::{Both, ToClient, ToServer};
use reqscope_testkit::Script;
use tokio::net::TcpStream;

use super::ends::{BOUND, Net, Seen, ask, before_a_line_server, end, meets, passes};

#[tokio::test]
async fn fault_for_open_connections_spares_future_ones() {
    let net = Net::new().await;
    let (mut first, _one) = net.connect().await;
    let (mut second, _other) = net.connect().await;
    net.proxy.open().reset();
    assert_eq!((end(&mut first).await, end(&mut second).await), (Seen::Reset, Seen::Reset));
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"new").await;
}

#[tokio::test]
async fn fault_for_future_connections_spares_open_ones() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.coming().reset();
    for _ in 0..2 {
        assert_eq!(meets(net.proxy.addr()).await, Seen::Reset);
    }
    passes(&mut client, &mut server, b"old").await;
    net.proxy.coming().heal();
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"new").await;
}

#[tokio::test]
async fn fault_for_all_meets_open_and_future_connections() {
    let net = Net::new().await;
    let (mut open, _server) = net.connect().await;
    net.proxy.all().cut();
    assert_eq!(end(&mut open).await, Seen::Fin);
    assert_eq!(meets(net.proxy.addr()).await, Seen::Fin);
}

#[tokio::test]
async fn nth_selects_an_open_or_a_future_connection() {
    let net = Net::new().await;
    let (mut zero, mut server) = net.connect().await;
    let (mut one, _server) = net.connect().await;
    net.proxy.nth(1).reset();
    net.proxy.nth(3).cut();
    assert_eq!(end(&mut one).await, Seen::Reset);
    let (mut two, mut other) = net.connect().await;
    assert_eq!(meets(net.proxy.addr()).await, Seen::Fin);
    passes(&mut zero, &mut server, b"0").await;
    passes(&mut two, &mut other, b"2").await;
    net.proxy.nth(1).reset(); // it has ended
}

#[tokio::test]
async fn next_selects_one_connection_after_another() {
    let proxy = before_a_line_server().await;
    proxy.coming().stall(ToClient);
    proxy.next().cut();
    proxy.next().reset();
    proxy.next().play(Script::new());
    assert_eq!(meets(proxy.addr()).await, Seen::Fin);
    assert_eq!(meets(proxy.addr()).await, Seen::Reset);
    let mut third = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut third, "c").await.unwrap(), "C\n");
    let mut fourth = TcpStream::connect(proxy.addr()).await.unwrap();
    let (answer, ()) = tokio::join!(ask(&mut fourth, "d"), async {
        let held = proxy.until(BOUND, |traffic| traffic.from_server == 4).await;
        assert_eq!(held.to_client, 2);
        proxy.nth(3).heal();
    });
    assert_eq!(answer.unwrap(), "D\n");
}

#[tokio::test]
async fn black_holed_pool_can_open_new_connections() {
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

/// Sets random faults, on two threads: no answer is wrong, and a reset ends all connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_ends_connections_after_any_fault() {
    let proxy = before_a_line_server().await;
    let talks: Vec<_> = (0..16)
        .map(|talker| {
            let addr = proxy.addr();
            tokio::spawn(async move {
                for _ in 0..20 {
                    // It may be reset before the connect returns.
                    let Ok(mut client) = TcpStream::connect(addr).await else { continue };
                    while let Ok(answer) = ask(&mut client, &format!("question {talker}")).await {
                        assert_eq!(answer, format!("QUESTION {talker}\n"));
                    }
                }
            })
        })
        .collect();
    let mut steps = 0;
    while !talks.iter().all(|talk| talk.is_finished()) {
        let nth = proxy.nth(steps % (proxy.traffic().accepted + 1));
        match steps % 9 {
            0 => nth.stall(Both),
            1 => nth.black_hole(ToClient),
            2 => nth.half_close(ToServer),
            3 => nth.cut(),
            4 => nth.delay(Both, Duration::from_millis(1)),
            5 => nth.play(Script::new().forward(ToClient, 20).reset()),
            6 => proxy.next().play(Script::new().forward(Both, 100).pause(Duration::from_millis(1)).cut()),
            7 => nth.heal(),
            _ => proxy.open().reset(),
        }
        steps += 1;
        tokio::task::yield_now().await;
    }
    for talk in talks {
        talk.await.unwrap();
    }
    proxy.open().reset();
    let traffic = proxy.until(BOUND, |traffic| traffic.open == 0).await;
    assert_eq!((traffic.accepted, traffic.unreachable), (16 * 20, 0));
    assert!(traffic.to_server + traffic.to_client + traffic.swallowed <= traffic.from_client + traffic.from_server);
}
