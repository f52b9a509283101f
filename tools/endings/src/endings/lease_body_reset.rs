use bytes::Bytes;
use reqscope::{Exit, Guard};
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with, chunks};
use crate::client::Ask;
use crate::event::Event;
use crate::scene::Call;
use crate::world::World;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-reset",
    sentence: "the client resets the connection in the middle of a body beside which a handle is kept",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Cancelled],
        sees: Seen::Left,
        events: &[Event::Returned, Event::Waits, Event::BodyCut],
        ..Must::DONE
    },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    let scene = call.scene;
    let body = chunks(move |number| {
        let scene = scene.clone();
        async move {
            if number > 0 {
                scene.wait().await?;
            }
            Ok(Some(Bytes::from_static(b"a row")))
        }
    });
    answer_with(200, LeaseBody::new(body, lease))
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let mut client = world.send(Ask::GET).await?;
    client.head().await?;
    world.hears(Event::Waits).await?;
    client.rst()?;
    Ok(Seen::Left)
}
