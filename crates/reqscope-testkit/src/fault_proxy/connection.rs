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
use super::inner::Registration;
use super::playback::{Close, Wait};
use super::relay::Relay;

/// How often a socket that is cut is read from. What is left unread would turn its FIN into a reset.
const LAST_READS: usize = 64;

/// Serves a connection to its end. Dropped before that, it closes the sockets and is counted out.
pub(super) async fn serve(registration: Registration, client: TcpStream) {
    // The registration was there first and is dropped last: who waits for its leaving finds the sockets closed.
    let mut server = None;
    let end = select! {
        biased;
        end = registration.until(|playback| playback.ended()) => end,
        never = keep_time(&registration) => match never {},
        never = converse(&client, &mut server, &registration) => match never {},
    };
    for stream in [Some(client), server].into_iter().flatten() {
        close(&stream, end);
    }
}

/// Connects the client with the server.
async fn converse(client: &TcpStream, server: &mut Option<TcpStream>, registration: &Registration) -> Infallible {
    // A chunk is not to wait for the next one. Where the option cannot be set the peer has gone, and a read will tell.
    drop(client.set_nodelay(true));
    if registration.look(|playback, _| playback.is_black_hole()) {
        // The server does not hear of it. And as nothing is written into a black hole, there need be nobody behind it.
        return Relay::new(Way::ToServer, client, client).run(registration).await;
    }
    // Dropped while it connects, the socket goes with the attempt.
    let Ok(connected) = TcpStream::connect(registration.upstream()).await else {
        registration.look(|playback, traffic| {
            traffic.unreachable += 1;
            playback.end(Close::Reset);
        });
        return pending().await;
    };
    drop(connected.set_nodelay(true));
    let server = &*server.insert(connected);
    let to_server = Relay::new(Way::ToServer, client, server).run(registration);
    let to_client = Relay::new(Way::ToClient, server, client).run(registration);
    let (never, _) = join!(to_server, to_client);
    match never {}
}

/// Ends the waits of the script that are not for bytes.
async fn keep_time(registration: &Registration) -> Infallible {
    loop {
        let (turn, wait) = registration.look(|playback, _| playback.wait());
        let over = async {
            match wait {
                Wait::Time(time) => sleep(time).await,
                // Dropped while it waits, it gives its outcome to the next one at the gate.
                Wait::Gate(gate) => drop(gate.end().await),
                Wait::Nothing | Wait::Bytes(..) => pending().await,
            }
        };
        select! {
            () = over => registration.look(|playback, _| playback.waited(turn)),
            () = registration.until(|playback| (playback.turn() != turn).then_some(())) => {}
        }
    }
}

/// Prepares for the drop of a socket, with which it closes. Whatever fails here does so because the peer has gone.
fn close(stream: &TcpStream, end: Close) {
    let socket = SockRef::from(stream);
    match end {
        Close::Over => {}
        Close::Reset => drop(socket.set_linger(Some(Duration::ZERO))),
        Close::Cut => {
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
