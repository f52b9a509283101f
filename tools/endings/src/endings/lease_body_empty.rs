use http_body_util::Empty;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::body::{Answer, answer_with};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-empty",
    sentence: "an empty body owns its handle",
    handler: |call| Box::pin(handler(call)),
    must: Must { events: &[Event::Returned, Event::BodyGone], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(200, LeaseBody::new(Empty::new(), lease))
}
