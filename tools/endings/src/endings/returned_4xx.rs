use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "returned-4xx",
    sentence: "the handler returns a 404",
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(404), ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer(404, "there is no such thing")
}
