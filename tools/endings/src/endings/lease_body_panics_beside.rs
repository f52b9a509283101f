use bytes::Bytes;
use reqscope::{Exit, Guard};
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with, chunks};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-panics-beside",
    sentence: "a body panics beside which a handle is kept",
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(super::panic_in_the_body::client(world)),
    must: Must {
        told: &[Exit::Panicked],
        sees: Seen::Cut(200),
        events: &[Event::Returned, Event::BodyUnwound],
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
                panic!("told to panic in the body");
            }
            Ok(Some(Bytes::from_static(b"a row")))
        }
    });
    answer_with(200, LeaseBody::new(body, lease))
}
