use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "trailers",
    sentence: "a body with trailers",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("checksum"), HeaderValue::from_static("1"))]);
    let body = chunks(|number| async move { Ok((number < 1).then_some(Bytes::from_static(b"rows"))) });
    let mut response = answer_with(200, body.with_trailers(std::future::ready(Some(Ok(trailers)))))?;
    // Over HTTP/1 only announced ones are sent, to those who ask for them.
    response.headers_mut().insert("trailer", HeaderValue::from_static("checksum"));
    Ok(response)
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let whole = world.send(Ask { headers: &[("te", "trailers")], ..Ask::GET }).await?.whole().await?;
    ensure!(whole.bytes == 4 && whole.trailers, "{whole:?}");
    Ok(whole.seen())
}
