use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use reqscope::Scopes;
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backoff::Backoff;
use crate::connections::Connections;
use crate::descriptors::is_out_of_descriptors;
use crate::drive::{Accepted, BoxError, drive};
use crate::settings::Settings;
use crate::{DisconnectWatch, Handshake, Listener, ServeReport};

/// A connection that was accepted and is not watched yet.
type Unwatched<L> = ((<L as Listener>::Io, <L as Listener>::Peer), OwnedSemaphorePermit);

/// Accepts connections until the signal is ready, and then shuts the server down.
pub(crate) async fn accept<L, S, H, F, B>(
    mut listener: L,
    service: S,
    handshake: H,
    signal: F,
    scopes: Scopes,
    settings: Settings,
) -> ServeReport
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    H: Handshake<L::Io>,
    F: Future<Output = ()> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let settings = Arc::new(settings);
    let permits = Arc::new(Semaphore::new(settings.max_connections().min(Semaphore::MAX_PERMITS)));
    let mut signal = pin!(signal);
    let mut backoff = Backoff::default();
    // Dropping this future drops all connections.
    let mut connections = Connections::new(&settings);
    let mut accepted: Option<Unwatched<L>> = None;

    loop {
        // Created anew in each turn: it may be dropped at every step without losing a connection.
        let accept = async {
            backoff.wait().await;
            if accepted.is_none() {
                let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
                accepted = Some((listener.accept().await?, permit));
            }
            Ok(())
        };
        let outcome = select! {
            biased;
            () = signal.as_mut() => break,
            Some(ended) = connections.next_end() => {
                connections.ended(ended);
                continue;
            }
            outcome = accept => outcome,
        };
        let watch = outcome.and_then(|()| match &accepted {
            Some(((io, _peer), _permit)) if settings.watch => listener.watch(io, settings.half_close),
            _ => Ok(DisconnectWatch::never()),
        });
        let connection = accepted.take();
        let watch = match watch {
            Ok(watch) => watch,
            Err(error) => {
                // If only a descriptor is missing, keep the connection and try again after the pause.
                accepted = connection.filter(|_| is_out_of_descriptors(&error));
                backoff.failed(&error);
                connections.accept_failed(&error);
                continue;
            }
        };
        let ((io, peer), permit) = connection.expect("an accept without an error leaves a connection");
        backoff.succeeded();
        let accepted = Accepted { io, peer, watch, slot: connections.add_slot(permit) };
        connections.spawn(drive(accepted, service.clone(), handshake.clone(), Arc::clone(&settings)));
    }

    drop(listener);
    connections.shut_down(&scopes).await
}
