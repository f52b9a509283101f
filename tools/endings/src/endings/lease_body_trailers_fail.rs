use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use reqscope::{Exit, Guard};
use reqscope_hyper::{ByGrpcStatus, LeaseBody};

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-trailers-fail",
    sentence: "a streamed body tells in its trailers that it failed, as gRPC does",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Failed],
        unsettled: Some("its trailers tell the client that it failed"),
        ..Must::DONE
    },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("5"))]);
    let body = chunks(|number| async move { Ok((number < 1).then_some(Bytes::from_static(b"rows"))) });
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = answer_with(200, LeaseBody::new(body, lease).classify_trailers(ByGrpcStatus))?;
    response.headers_mut().insert("trailer", HeaderValue::from_static("grpc-status"));
    Ok(response)
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let whole = world.send(Ask { headers: &[("te", "trailers")], ..Ask::GET }).await?.whole().await?;
    ensure!(whole.trailers, "{whole:?}");
    Ok(whole.seen())
}
