use crate::layers::Layers;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "timeout-outside",
    sentence: "a timeout layer around the scope answers 408, and does not wait for the release",
    setup: Setup { layers: Layers::TimeoutOutside, ..Setup::DEFAULT },
    must: Must { sees: Seen::Whole(408), ..Must::DROPPED },
    ..Ending::HOLDING
};
