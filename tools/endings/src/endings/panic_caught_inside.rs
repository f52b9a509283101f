use reqscope::Exit;

use crate::event::Event;
use crate::layers::Layers;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "panic-caught-inside",
    sentence: "the handler panics, and a layer inside of the scope answers 500: for the scope a failure",
    setup: Setup { layers: Layers::PanicsCaughtInside, ..Setup::DEFAULT },
    handler: |call| Box::pin(super::panic_in_the_handler::handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(500), events: &[Event::Unwound], ..Must::DONE },
    ..Ending::PLAIN
};
