//! One phase of the outage, as its clients see it.
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a client waits for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a ping may take, on a machine that may be busy with something else.
const PING_LIMIT: Duration = Duration::from_secs(1);

/// What the clients saw in one phase of the outage.
pub(crate) struct Observations {
    /// Whether every ping was answered in time.
    pub(crate) serves: bool,
    /// How many requests were refused.
    pub(crate) refusals: usize,
    /// The median time of the refusals, without those of requests that were a probe: they have waited for the backend
    /// until its timeout. On a busy machine there are few others.
    pub(crate) refused_in: Option<Duration>,
    /// When the first echo came.
    pub(crate) back_after: Option<Duration>,
}

/// Sends requests for a while, and prints what the clients see.
pub(crate) async fn observe(
    server: SocketAddr,
    begun: Instant,
    title: &str,
    seconds: u64,
) -> io::Result<Observations> {
    let now = Instant::now();
    println!("{:4.1} s  {title}", (now - begun).as_secs_f64());
    let until = now + Duration::from_secs(seconds);
    let (pings, echoes) = tokio::try_join!(ask(server, "/ping", until), ask(server, "/echo", until))?;
    let took = |answers: &[Answer], wanted| {
        let took = answers.iter().filter(|(_, status, ..)| *status == wanted).map(|(.., took)| *took);
        let mut took: Vec<_> = took.collect();
        took.sort();
        took
    };
    for (path, status, answers) in [("/ping", 200, &pings), ("/echo", 200, &echoes), ("/echo", 503, &echoes)] {
        if let took @ [.., slowest] = &*took(answers, status) {
            println!(
                "{path:>14} {status} x {:<3} median {:.1?}, slowest {slowest:.1?}",
                took.len(),
                took[took.len() / 2]
            );
        }
    }
    if let Some((.., text, _)) = echoes.iter().rfind(|(_, status, ..)| *status == 503) {
        println!("               the last: {text}");
    }
    let (probes, refusals): (Vec<_>, Vec<_>) =
        echoes.iter().cloned().partition(|(_, _, text, _)| text.starts_with("timed out"));
    if !probes.is_empty() {
        println!("               {} of them were probes", probes.len());
    }
    let refused = took(&refusals, 503);
    let first = echoes.iter().find(|(_, status, ..)| *status == 200);
    Ok(Observations {
        serves: pings.iter().all(|(_, status, _, took)| *status == 200 && *took < PING_LIMIT),
        refusals: took(&echoes, 503).len(),
        refused_in: refused.get(refused.len() / 2).copied(),
        back_after: first.map(|(at, ..)| *at - now),
    })
}

/// An answer: when it arrived, its status, its text, and how long it took.
type Answer = (Instant, u16, String, Duration);

/// Runs a client, which sends one request after the other.
async fn ask(server: SocketAddr, path: &str, until: Instant) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = timeout(CLIENT_TIMEOUT, get(server, path)).await??;
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let text = answer.rsplit("\r\n").next().unwrap_or_default().to_owned();
        answers.push((Instant::now(), status, text, begun.elapsed()));
        sleep(Duration::from_millis(10)).await;
    }
    Ok(answers)
}

async fn get(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
