use reqscope::Exit;

use crate::event::Event;
use crate::layers::Layers;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "panic-caught-outside",
    sentence: "the handler panics, and a layer around the scope answers 500",
    setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
    handler: |call| Box::pin(super::panic_in_the_handler::handler(call)),
    must: Must { told: &[Exit::Panicked], sees: Seen::Whole(500), events: &[Event::Unwound], ..Must::DONE },
    ..Ending::PLAIN
};
