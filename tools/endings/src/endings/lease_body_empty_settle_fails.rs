use http_body_util::Empty;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;
use reqscope_testkit::Verb;

use crate::body::{Answer, answer_with};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-empty-settle-fails",
    sentence: "the COMMIT behind an empty body fails: the client must not take the answer for whole",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Nothing, events: &[Event::Returned, Event::BodyFailed], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.scene.probe.on(Verb::Release).error();
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(200, LeaseBody::new(Empty::new(), lease))
}
