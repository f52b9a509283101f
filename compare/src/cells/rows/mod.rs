//! The honesty table of the lazy cells: one script per row, run on every contender.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::cell::LazyCell;
use crate::faults::steps::Unmet;

macro_rules! rows {
    ($($variant:ident = $module:ident: $title:literal)+) => {
        $(mod $module;)+

        /// A row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Row {
            $($variant,)+
        }

        impl Row {
            pub(crate) const ALL: &[Row] = &[$(Row::$variant,)+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Row::$variant => stringify!($module),)+
                }
            }

            pub(crate) fn title(self) -> &'static str {
                match self {
                    $(Row::$variant => $title,)+
                }
            }

            pub(crate) async fn play<C: LazyCell>(self) -> Result<(), Unmet> {
                match self {
                    $(Row::$variant => $module::play::<C>().await,)+
                }
            }
        }
    };
}

rows! {
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

impl ValueEnum for Row {
    fn value_variants<'a>() -> &'a [Row] {
        Row::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.title()))
    }
}
