use http_body_util::Empty;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-no-content",
    sentence: "a 204 owns its handle; nobody asks its body for anything",
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Whole(204), events: &[Event::Returned, Event::BodyGone], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(204, LeaseBody::new(Empty::new(), lease))
}
