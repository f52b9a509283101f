use crate::Ending;

pub(super) const ENDING: Ending =
    Ending { name: "returned-2xx", sentence: "the handler returns a 200", ..Ending::PLAIN };
