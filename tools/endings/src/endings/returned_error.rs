use reqscope::Exit;

use crate::body::Answer;
use crate::event::Event;
use crate::scene::Call;
use crate::{Absent, Ending, Must, Seen, Stack};

pub(super) const ENDING: Ending = Ending {
    name: "returned-error",
    sentence: "the handler returns an error",
    absent: &[Absent::Stack(Stack::Axum, "its services have no errors")],
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Nothing, events: &[Event::Erred], ..Must::DONE },
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    Err("no answer".into())
}
