use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::event::Event;
use crate::scene::Call;
use crate::{BoxError, Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "panic-swallowed",
    sentence: "a panic in the middle of the work is caught in the handler, which answers 200: no COMMIT of half the work",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(500), events: &[Event::Returned, CAUGHT], ..Must::DONE },
    ..Ending::PLAIN
};

const CAUGHT: Event = Event::Saw("the handler caught the panic");

async fn handler(call: Call) -> Answer {
    let log = call.scene.log.clone();
    if AssertUnwindSafe(half_of_the_work(call)).catch_unwind().await.is_err() {
        log.add(CAUGHT);
    }
    answer(200, "done, it thinks")
}

async fn half_of_the_work(call: Call) -> Result<(), BoxError> {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    panic!("told to panic in the middle of the work");
}
