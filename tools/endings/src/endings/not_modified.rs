use crate::body::{Answer, bare};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "not-modified",
    sentence: "a 304, which has no body",
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Whole(304), events: &[Event::Returned, Event::BodyUnasked], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    bare(304)
}
