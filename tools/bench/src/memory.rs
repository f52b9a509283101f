//! Measures whether a server grows with the requests that are cut. The server is alone in its process.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqscope_records::bench::MemoryRun;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::server::{Hello, State};

/// How many clients connect at a time.
const CLIENTS: usize = 64;
/// The longest time that a client waits; each time is random below it. An answer takes a little longer than two steps
/// of the server.
const PATIENCE: Duration = Duration::from_millis(4);
/// The most that an attack may take. It takes some ten seconds.
const BOUND: Duration = Duration::from_secs(120);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Attacks a server twice, and prints its memory after each attack.
#[tokio::main]
pub(crate) async fn run(half: usize) -> anyhow::Result<()> {
    let mut server = Server::start().await?;
    let middle = server.attack(half).await?;
    let end = server.attack(half).await?;
    server.stop().await?;
    ensure!(end.cut * 10 > 2 * half as u64, "only {} of {} requests were cut in mid-use", end.cut, 2 * half);

    let run = MemoryRun {
        requests: 2 * half as u64,
        hung_up: 2 * (half / 2) as u64,
        cut: end.cut,
        middle: middle.resident,
        end: end.resident,
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

struct Server {
    address: SocketAddr,
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Server {
    async fn start() -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let questions = child.stdin.take().context("it is piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let Hello { address } = next(&mut answers).await?;
        Ok(Server { address, child, questions, answers })
    }

    /// Sends requests, of which every second one is hung up on, and asks the server for its state.
    async fn attack(&mut self, requests: usize) -> anyhow::Result<State> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let share = (requests / 2 + client) / CLIENTS;
            clients.spawn(attack(self.address, share));
        }
        let over = async {
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            self.questions.write_all(b"\n").await?;
            next(&mut self.answers).await
        };
        timeout(BOUND, over).await.context("the attack takes too long")?
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.questions);
        let status = timeout(BOUND, self.child.wait()).await.context("the server does not stop")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

async fn next<T: DeserializeOwned>(answers: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<T> {
    let line = answers.next_line().await?.context("the server has gone")?;
    Ok(serde_json::from_str(&line)?)
}

/// Runs one client, which repeatedly connects, waits for one answer, and hangs up before the next.
async fn attack(address: SocketAddr, times: usize) -> anyhow::Result<()> {
    for _ in 0..times {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the server closed after {answer:?}");
        }
        stream.write_all(REQUEST).await?;
        sleep(PATIENCE.mul_f64(fastrand::f64())).await;
        // Three in four with a reset: an orderly close keeps the port for a minute, and ports are few.
        if fastrand::u8(..4) > 0 {
            stream.set_zero_linger()?;
        }
    }
    Ok(())
}
