use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "deadline",
    sentence: "the request is out of time, and its client waits",
    setup: Setup { timeout: Some(Setup::SOON), ..Setup::DEFAULT },
    must: Must { sees: Seen::Whole(503), ..Must::DROPPED },
    ..Ending::HOLDING
};
