//! What a client saw of its plan.
use std::time::Duration;

/// The answer to one request.
pub(crate) struct Answer {
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    /// Empty if it was not read to its end.
    pub(crate) body: Vec<u8>,
}

/// What came of one plan.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The answers that arrived whole. For a client that hangs up in mid-body: those whose head arrived.
    pub(crate) answers: Vec<Answer>,
    /// The time from the request to the end of the answer, if the client waited for it.
    pub(crate) latency: Option<Duration>,
}

impl Outcome {
    /// Returns the outcome of a client that waited for its answer.
    pub(crate) fn whole(answer: Answer, latency: Duration) -> Outcome {
        Outcome { answers: vec![answer], latency: Some(latency) }
    }

    /// Returns the outcome of a client that did not wait for the end of its answer.
    pub(crate) fn partial(answer: Answer) -> Outcome {
        Outcome { answers: vec![answer], latency: None }
    }
}

impl Answer {
    /// Returns the tag of the row that this answer promises.
    pub(crate) fn promise(&self) -> Option<u32> {
        // A body that is not a number promises the row 0, which does not exist.
        let tag = || String::from_utf8_lossy(&self.body).parse().unwrap_or_default();
        (self.path == "/tx" && self.status == 200).then(tag)
    }

    /// Returns the text of an answer that is not a 200.
    pub(crate) fn refusal(&self) -> Option<String> {
        let Answer { path, status, body } = self;
        (*status != 200).then(|| format!("{path}: {status} {}", String::from_utf8_lossy(body)))
    }
}
