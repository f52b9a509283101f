use bytes::Bytes;
use http_body_util::Full;
use reqscope::{Exit, Guard};
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Differs, Ending, Must, Protocol, Seen, Stack};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-head",
    sentence: "a HEAD, whose body owns its handle and is dropped unasked",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Cancelled],
        events: &[Event::Returned, Event::BodyUnasked],
        unsettled: Some("the head is all there is, and it waits for nothing that a body owns"),
        ..Must::DONE
    },
    differs: &[Differs {
        stack: Some(Stack::Hyper),
        protocol: Protocol::Http2,
        why: "over HTTP/2 hyper sends the body of an answer to HEAD, which the client takes for an error",
        must: Must { sees: Seen::Cut(200), ..Must::DONE },
    }],
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(200, LeaseBody::new(Full::new(Bytes::from_static(b"rows")), lease))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    world.send(Ask { method: "HEAD", ..Ask::GET }).await?.answer().await
}
