//! The honesty table of the lazy cells: one script per row, which runs on every contender.

use super::cell::LazyCell;
use crate::rows::rows;

rows! { LazyCell:
    Unpolled = unpolled: "the first caller is alive, but not polled: the next one is served"
    Cancelled = cancelled: "the first caller is cancelled: the next one is served, by one acquisition at a time"
    Impatient = impatient: "no caller waits for as long as an acquisition takes: a later one is served"
    Abandoned = abandoned: "all callers leave and the request ends during the acquisition: nothing is left behind"
    Late = late: "the request ends, then the handle arrives: it is released at once, and no caller receives it"
    Panic = panic: "a panic in the acquisition: no caller hangs, and a later one is served"
    Once = once: "8 first callers at once: one acquisition, released exactly once"
    HeldHandle = held_handle: "a task uses the handle when the request ends: released exactly once, and not while it is used"
    HeldCell = held_cell: "a task holds the cell when the request ends: the handle is released all the same"
    Exit = exit: "the release is passed how the request ended"
}
