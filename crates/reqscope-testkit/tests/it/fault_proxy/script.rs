//! Scripts of several steps.
use std::io::ErrorKind;
use std::time::Duration;

use reqscope_testkit::Direction::{Both, ToClient, ToServer};
use reqscope_testkit::{Gate, Outcome, Script, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, pause, resume, sleep};

use super::ends::{BOUND, Net, Seen, ask, before_a_line_server, end, meets, passes, rest};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn answer_can_be_cut_at_every_byte() {
    let proxy = before_a_line_server().await;
    let answer = "A QUESTION\n";
    for reset in [false, true] {
        for bytes in 0.. {
            let script = Script::new().forward(ToClient, bytes);
            proxy.next().play(if reset { script.reset() } else { script.cut() });
            let end = if reset { Seen::Reset } else { Seen::Fin };
            if bytes == 0 {
                assert_eq!(meets(proxy.addr()).await, end);
                continue;
            }
            let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
            client.write_all(b"a question\n").await.unwrap();
            let seen = rest(&mut client).await;
            assert_eq!(seen, (answer[..bytes as usize].into(), end), "cut at byte {bytes}");
            if bytes as usize == answer.len() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn question_can_be_cut_at_every_byte() {
    let net = Net::new().await;
    for bytes in 0..=5 {
        let (mut client, mut server) = net.connect().await;
        net.proxy.open().play(Script::new().forward(ToServer, bytes).cut());
        client.write_all(b"hello").await.unwrap();
        assert_eq!(rest(&mut server).await, (b"hello"[..bytes as usize].into(), Seen::Fin));
        net.empty().await;
    }
}

#[tokio::test]
async fn steps_are_played_in_order() {
    let net = Net::new().await;
    let gate = Gate::closed();
    net.proxy.next().play(Script::new().forward(ToClient, 3).stall(Both).pass(&gate).reset());
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"not counted").await;
    server.write_all(b"answer").await.unwrap();
    let traffic = net.until(|traffic| traffic.to_client == 3).await;
    assert_eq!((traffic.from_server, traffic.open), (6, 1));
    until(BOUND, || gate.waiting() == 1).await;
    gate.ok();
    assert_eq!(rest(&mut client).await, (b"ans".to_vec(), Seen::Reset));
    assert_eq!(end(&mut server).await, Seen::Reset);
}

#[tokio::test]
async fn everything_passes_after_the_last_step() {
    let net = Net::new().await;
    net.proxy.next().play(Script::new().forward(ToClient, 2).forward(ToClient, 0).forward(ToServer, 2));
    let (mut client, mut server) = net.connect().await;
    passes(&mut server, &mut client, b"answer").await;
    passes(&mut client, &mut server, b"question").await;
    passes(&mut server, &mut client, b"answer").await;
}

#[tokio::test]
async fn first_end_of_a_connection_counts() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    net.proxy.open().cut();
    net.proxy.open().reset();
    assert_eq!((end(&mut client).await, end(&mut server).await), (Seen::Fin, Seen::Fin));
    net.proxy.next().play(Script::new().forward(Both, 0).reset().cut());
    assert_eq!(meets(net.proxy.addr()).await, Seen::Reset);
}

#[tokio::test]
async fn bytes_of_both_directions_are_counted_together() {
    let net = Net::new().await;
    net.proxy.next().play(Script::new().forward(Both, 5).reset());
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"ab").await;
    server.write_all(b"cdefg").await.unwrap();
    assert_eq!(rest(&mut client).await, (b"cde".to_vec(), Seen::Reset));
}

#[tokio::test]
async fn bytes_pass_while_a_script_waits_at_a_gate() {
    let net = Net::new().await;
    let gate = Gate::closed();
    net.proxy.next().play(Script::new().pass(&gate).half_close(ToClient));
    let (mut client, mut server) = net.connect().await;
    passes(&mut client, &mut server, b"question").await;
    until(BOUND, || gate.waiting() == 1).await;
    passes(&mut server, &mut client, b"answer").await;
    gate.ok();
    assert_eq!(end(&mut client).await, Seen::Fin);
}

#[tokio::test]
async fn gate_lets_one_connection_through_at_a_time() {
    let net = Net::new().await;
    let gate = Gate::closed();
    net.proxy.coming().play(Script::new().pass(&gate).cut());
    let (mut first, _one) = net.connect().await;
    until(BOUND, || gate.waiting() == 1).await;
    let (mut second, mut server) = net.connect().await;
    until(BOUND, || gate.waiting() == 2).await;
    gate.error();
    assert_eq!(end(&mut first).await, Seen::Fin, "the outcome does not matter");
    passes(&mut second, &mut server, b"still open").await;
    gate.always(Outcome::panic());
    assert_eq!(end(&mut second).await, Seen::Fin, "not even a panic, which is not played");
}

#[tokio::test]
async fn connection_that_ends_leaves_the_gate() {
    let net = Net::new().await;
    let gate = Gate::closed();
    net.proxy.next().play(Script::new().pass(&gate).cut());
    drop(net.connect().await);
    net.empty().await;
    assert_eq!((gate.calls(), gate.waiting()), (1, 0));
}

#[tokio::test]
async fn pause_uses_the_paused_clock() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    pause();
    let began = Instant::now();
    net.proxy.open().play(Script::new().stall(Both).pause(HOUR).heal());
    client.write_all(b"question").await.unwrap();
    server.read_exact(&mut [0; 8]).await.unwrap();
    let took = began.elapsed();
    assert!(HOUR <= took && took < 2 * HOUR, "{took:?}");
}

#[tokio::test]
async fn pause_is_not_restarted_by_traffic() {
    let net = Net::new().await;
    let (mut client, mut server) = net.connect().await;
    pause();
    let began = Instant::now();
    net.proxy.open().play(Script::new().pause(HOUR).reset());
    sleep(HOUR / 2).await;
    resume();
    passes(&mut client, &mut server, b"meanwhile").await;
    pause();
    net.proxy.coming().stall(Both);
    assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(began.elapsed().as_secs(), HOUR.as_secs());
}

#[tokio::test]
async fn script_replaces_the_one_before() {
    let net = Net::new().await;
    let gate = Gate::closed();
    net.proxy.next().play(Script::new().stall(Both).pass(&gate).reset());
    let (mut client, mut server) = net.connect().await;
    until(BOUND, || gate.waiting() == 1).await;
    net.proxy.open().play(Script::new().forward(ToServer, 1).cut());
    until(BOUND, || gate.waiting() == 0).await;
    gate.ok();
    passes(&mut server, &mut client, b"the stall is lifted").await;
    client.write_all(b"question").await.unwrap();
    assert_eq!(rest(&mut server).await, (b"q".to_vec(), Seen::Fin), "without a reset");
}

#[tokio::test]
async fn end_of_an_earlier_wait_does_not_end_a_later_one() {
    for _ in 0..16 {
        let net = Net::new().await;
        let (old, new) = (Gate::closed(), Gate::closed());
        net.proxy.next().play(Script::new().pass(&old).reset());
        let (mut client, mut server) = net.connect().await;
        until(BOUND, || old.waiting() == 1).await;
        old.ok();
        net.proxy.open().play(Script::new().pass(&new).cut());
        until(BOUND, || new.waiting() == 1).await;
        passes(&mut client, &mut server, b"still open").await;
    }
}

#[tokio::test]
async fn stalled_answer_can_be_healed() {
    let proxy = before_a_line_server().await;
    let gate = Gate::closed();
    proxy.next().play(Script::new().forward(ToClient, 2).stall(ToClient).pass(&gate).heal());
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (answer, ()) = tokio::join!(ask(&mut client, "question"), async {
        until(BOUND, || gate.waiting() == 1).await;
        assert_eq!(proxy.traffic().to_client, 2);
        gate.ok();
    });
    assert_eq!(answer.unwrap(), "QUESTION\n");
}
