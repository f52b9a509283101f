use reqscope::Exit;

use crate::body::Answer;
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "panic-in-the-handler",
    sentence: "the handler panics, and nobody catches it",
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Panicked], sees: Seen::Nothing, events: &[Event::Unwound], ..Must::DONE },
    ..Ending::PLAIN
};

pub(super) async fn handler(call: Call) -> Answer {
    let _handle = call.lazy.get().await?;
    panic!("told to panic in the handler");
}
