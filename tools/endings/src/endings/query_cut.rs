use reqscope::Exit;
use reqscope_testkit::Verb;
use tokio::time::timeout;

use crate::body::{Answer, answer};
use crate::event::Event;
use crate::scene::Call;
use crate::{Ending, Must, Resources, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "query-cut",
    sentence: "a query is out of time inside of the handler, which answers 200: no COMMIT of half the work",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(500), events: &[Event::Returned, CUT], ..Must::DONE },
    ..Ending::PLAIN
};

const CUT: Event = Event::Saw("the query was cut");

async fn handler(call: Call) -> Answer {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    call.scene.probe.on(Verb::Operate).never();
    if timeout(Setup::SOON, handle.operate()).await.is_err() {
        call.scene.log.add(CUT);
    }
    drop(handle);
    answer(200, "done, it thinks")
}
