use reqscope::Exit;

use crate::layers::Layers;
use crate::{Ending, Must, Seen, Setup};

pub(super) const ENDING: Ending = Ending {
    name: "timeout-inside",
    sentence: "a timeout layer inside of the scope answers 408: for the scope a failure",
    setup: Setup { layers: Layers::TimeoutInside, ..Setup::DEFAULT },
    must: Must { told: &[Exit::Failed], sees: Seen::Whole(408), ..Must::DROPPED },
    ..Ending::HOLDING
};
