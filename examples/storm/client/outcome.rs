//! What a client saw.
use std::time::Duration;

/// One answer.
pub(crate) struct Answer {
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    /// Empty where it was not read to its end.
    pub(crate) body: Vec<u8>,
}

/// All that came of one part.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every answer that came whole; in mid-body, whose head came.
    pub(crate) answers: Vec<Answer>,
    /// From the request to the end of the answer, if the client waited for it.
    pub(crate) latency: Option<Duration>,
}

impl Seen {
    pub(crate) fn whole(answer: Answer, latency: Duration) -> Seen {
        Seen { answers: vec![answer], latency: Some(latency) }
    }

    pub(crate) fn part(answer: Answer) -> Seen {
        Seen { answers: vec![answer], latency: None }
    }
}

impl Answer {
    /// The row that this answer promises.
    pub(crate) fn promise(&self) -> Option<u32> {
        // What is no number promises a row that cannot be there.
        let tag = || String::from_utf8_lossy(&self.body).parse().unwrap_or_default();
        (self.path == "/tx" && self.status == 200).then(tag)
    }

    /// What it says, if it is no success.
    pub(crate) fn refusal(&self) -> Option<String> {
        let Answer { path, status, body } = self;
        (*status != 200).then(|| format!("{path}: {status} {}", String::from_utf8_lossy(body)))
    }
}
