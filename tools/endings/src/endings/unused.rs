use crate::body::{Answer, answer};
use crate::scene::Call;
use crate::{Ending, Must};

pub(super) const ENDING: Ending = Ending {
    name: "unused",
    sentence: "the handler does not ask for its handle",
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    drop(call.lazy);
    answer(200, "nothing was needed")
}
