use crate::event::Event;
use crate::layers::Layers;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "panic-in-the-body-caught",
    sentence: "the same under a layer that catches panics: it is not there for bodies",
    setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
    handler: |call| Box::pin(super::panic_in_the_body::handler(call)),
    client: |world| Box::pin(super::panic_in_the_body::client(world)),
    must: Must { sees: Seen::Cut(200), events: &[Event::Returned, Event::BodyUnwound], ..Must::DONE },
    ..Ending::PLAIN
};
