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

/// How often a socket that is cut is read from before it is closed: unread bytes would turn its FIN into a reset.
const LAST_READS: usize = 64;

/// Serves a connection to its end. Dropping it closes the sockets and counts the connection as closed.
pub(super) async fn serve(registration: Registration, client: TcpStream) {
    // The registration was created first and is dropped last: when it is gone, the sockets are closed.
    let mut server = None;
    let end = select! {
        biased;
        end = registration.until(|playback| playback.ended()) => end,
        never = wait_for_steps(&registration) => match never {},
        never = connect_and_relay(&client, &mut server, &registration) => match never {},
    };
    for stream in [Some(client), server].into_iter().flatten() {
        close(&stream, end);
    }
}

/// Connects the client with the server, and relays.
async fn connect_and_relay(
    client: &TcpStream,
    server: &mut Option<TcpStream>,
    registration: &Registration,
) -> Infallible {
    // Chunks are sent at once. If the option cannot be set, the peer is gone and a read reports it.
    drop(client.set_nodelay(true));
    if registration.look(|playback, _| playback.is_black_hole()) {
        // The server does not notice this connection. Nothing is written into a black hole, so it needs no other end.
        return Relay::new(Way::ToServer, client, client).run(registration).await;
    }
    // Dropped while it connects, the socket is dropped with the attempt.
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

/// Waits for the steps of the script that do not count bytes.
async fn wait_for_steps(registration: &Registration) -> Infallible {
    loop {
        let (wait_number, wait) = registration.look(|playback, _| playback.wait());
        let over = async {
            match wait {
                Wait::Time(time) => sleep(time).await,
                // Dropped while it waits, it passes its outcome on to the next call at the gate.
                Wait::Gate(gate) => drop(gate.end().await),
                Wait::Nothing | Wait::Bytes(..) => pending().await,
            }
        };
        select! {
            () = over => registration.look(|playback, _| playback.waited(wait_number)),
            () = registration.until(|playback| (playback.wait_number() != wait_number).then_some(())) => {}
        }
    }
}

/// Prepares a socket for its drop, which closes it. An error here means that the peer is gone.
fn close(stream: &TcpStream, end: Close) {
    let socket = SockRef::from(stream);
    match end {
        Close::Over => {}
        Close::Reset => drop(socket.set_linger(Some(Duration::ZERO))),
        Close::Cut => {
            // The FIN goes first: a byte that arrived after the last read would turn it into a reset.
            drop(socket.shutdown(Shutdown::Write));
            let mut chunk = [0; 4096];
            let mut reads = 0;
            while reads < LAST_READS && matches!(stream.try_read(&mut chunk), Ok(count) if count > 0) {
                reads += 1;
            }
        }
    }
}
