//! The honesty table of the lazy cells: one script per row, run on every contender.

use super::cell::LazyCell;
use crate::rows::rows;

rows! { LazyCell:
    Unpolled = unpolled: "the first user is alive, but not polled: the next one is served"
    Cancelled = cancelled: "the first user is cancelled: the next one is served, by one acquisition at a time"
    Impatient = impatient: "no user waits for as long as an acquisition takes: a later one is served"
    Abandoned = abandoned: "all leave and the request ends while the object is acquired: nothing is left behind"
    Late = late: "the request ends, then the object arrives: it is given back at once, and nobody has it"
    Panic = panic: "a panic in the acquisition: nobody hangs, and a later user is served"
    Once = once: "8 first users at once: one acquisition, given back exactly once"
    HeldObject = held_object: "a task uses the object when the request ends: given back exactly once, not before"
    HeldCell = held_cell: "a task has the cell when the request ends: the object is given back all the same"
    Told = told: "whoever gives the object back is told how the request ended"
}
