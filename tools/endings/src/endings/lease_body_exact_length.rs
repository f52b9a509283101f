use bytes::Bytes;
use http_body_util::Full;
use reqscope::Guard;
use reqscope_hyper::LeaseBody;

use crate::Ending;
use crate::body::{Answer, answer_with};
use crate::scene::Call;

pub(super) const ENDING: Ending = Ending {
    name: "lease-body-exact-length",
    sentence: "a body of a known length owns its handle; nobody asks it for its end",
    handler: |call| Box::pin(handler(call)),
    ..Ending::PLAIN
};

async fn handler(call: Call) -> Answer {
    let lease = Guard::detach(call.lazy.get().await?);
    answer_with(200, LeaseBody::new(Full::new(Bytes::from_static(b"rows")), lease))
}
