//! One connection, from the client's connect to the end of both sockets.

use std::convert::Infallible;
use std::future::pending;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::{join, select};

use super::direction::Way;
use super::inner::Entry;
use super::performance::{End, Wait};
use super::relay::Relay;

/// How often a socket that is cut is read from. What is left unread would turn its FIN into a reset.
const LAST_READS: usize = 64;

/// Serves a connection to its end. Dropped before that, it closes the sockets and is counted out.
pub(super) async fn serve(entry: Entry, client: TcpStream) {
    // The entry was there first and is dropped last: who waits for its leaving finds the sockets closed.
    let mut server = None;
    let end = select! {
        biased;
        end = entry.until(|performance| performance.ended()) => end,
        never = keep_time(&entry) => match never {},
        never = converse(&client, &mut server, &entry) => match never {},
    };
    for stream in [Some(client), server].into_iter().flatten() {
        close(&stream, end);
    }
}

/// Connects the client with the server.
async fn converse(client: &TcpStream, server: &mut Option<TcpStream>, entry: &Entry) -> Infallible {
    // A chunk is not to wait for the next one. Where the option cannot be set the peer has gone, and a read will tell.
    drop(client.set_nodelay(true));
    if entry.look(|performance, _| performance.is_black_hole()) {
        // The server does not hear of it. And as nothing is written into a black hole, there need be nobody behind it.
        return Relay::new(Way::ToServer, client, client).run(entry).await;
    }
    // Dropped while it connects, the socket goes with the attempt.
    let Ok(connected) = TcpStream::connect(entry.upstream()).await else {
        entry.look(|performance, traffic| {
            traffic.unreachable += 1;
            performance.end(End::Reset);
        });
        return pending().await;
    };
    drop(connected.set_nodelay(true));
    let server = &*server.insert(connected);
    let to_server = Relay::new(Way::ToServer, client, server).run(entry);
    let to_client = Relay::new(Way::ToClient, server, client).run(entry);
    let (never, _) = join!(to_server, to_client);
    match never {}
}

/// Ends the waits of the script that are not for bytes.
async fn keep_time(entry: &Entry) -> Infallible {
    loop {
        let (turn, wait) = entry.look(|performance, _| performance.wait());
        let over = async {
            match wait {
                Wait::Time(time) => sleep(time).await,
                // Dropped while it waits, it gives its outcome to the next one at the gate.
                Wait::Gate(gate) => drop(gate.end().await),
                Wait::Nothing | Wait::Bytes(..) => pending().await,
            }
        };
        select! {
            () = over => entry.look(|performance, _| performance.waited(turn)),
            () = entry.until(|performance| (performance.turn() != turn).then_some(())) => {}
        }
    }
}

/// Prepares for the drop of a socket, with which it closes. Whatever fails here does so because the peer has gone.
fn close(stream: &TcpStream, end: End) {
    let socket = SockRef::from(stream);
    match end {
        End::Over => {}
        End::Reset => drop(socket.set_linger(Some(Duration::ZERO))),
        End::Cut => {
            // The FIN goes first, or a byte that comes behind the last read would forestall it.
            drop(socket.shutdown(Shutdown::Write));
            let mut chunk = [0; 4096];
            let mut reads = 0;
            while reads < LAST_READS && matches!(stream.try_read(&mut chunk), Ok(count) if count > 0) {
                reads += 1;
            }
        }
    }
}
