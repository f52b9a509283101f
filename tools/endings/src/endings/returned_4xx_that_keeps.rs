use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::scene::Call;
use crate::{Ending, Must, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "returned-4xx-that-keeps",
    sentence: "the handler returns a 401 with a verdict of its own: what it has written is wanted",
    handler: |call| Box::pin(handler(call)),
    must: Must { sees: Seen::Whole(401), ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    let mut response = answer(401, "the failed login was counted")?;
    response.extensions_mut().insert(Exit::Completed);
    Ok(response)
}
