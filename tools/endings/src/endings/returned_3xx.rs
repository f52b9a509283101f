use crate::body::{Answer, answer};
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "returned-3xx",
    sentence: "the handler returns a 303",
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Whole(303), ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer(303, "elsewhere")
}
