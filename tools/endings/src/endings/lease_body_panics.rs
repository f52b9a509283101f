use reqscope::Exit;
use reqscope_testkit::Verb;

use crate::body::Answer;
use crate::event::Event;
use crate::handler::streams;
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-panics",
    sentence: "a body that owns its handle panics",
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
    call.scene.probe.on(Verb::Operate).ok().panic();
    streams(call, 2).await
}
