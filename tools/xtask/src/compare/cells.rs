//! What lazy cells cost.

use reqscope_records::compare::ContenderInfo;
use serde::Serialize;

use super::program::Program;
use super::rounds::Rounds;
use super::work::count;
use crate::spread::Spread;
use crate::valgrind::{Cost, Valgrind};

/// The names of the operations in reqscope-compare, and their titles.
pub(super) const OPERATIONS: [(&str, &str); 4] = [
    ("unused", "open and drop"),
    ("first", "open, first use, end"),
    ("plain", "the same over a source without shortcuts"),
    ("later", "a later use"),
];

/// The cost of each of the [`OPERATIONS`] for one contender.
#[derive(Serialize)]
pub(super) struct Lazy {
    pub(super) contender: ContenderInfo,
    pub(super) taken: Vec<Taken>,
}

#[derive(Serialize)]
pub(super) struct Taken {
    pub(super) cost: Cost,
    pub(super) nanos: Option<Spread>,
}

/// Measures all operations of all contenders.
pub(super) fn measure(
    program: &Program,
    valgrind: &Valgrind,
    contenders: &[ContenderInfo],
) -> anyhow::Result<Vec<Lazy>> {
    let timed: Vec<Rounds<f64>> = OPERATIONS
        .iter()
        .map(|(operation, _)| program.ask(&["cell-time", operation, "--rounds", "9", "--time", "20"]))
        .collect::<anyhow::Result<_>>()?;
    let counted = count(contenders, &OPERATIONS.map(|(operation, _)| operation), |operation, name| {
        valgrind.cost(program.path(), &["cell-run", operation, name])
    })?;
    let of = |contender: &ContenderInfo| {
        let taken = OPERATIONS.iter().zip(&timed).map(|((operation, _), timed)| Taken {
            cost: counted[&(*operation, contender.name.clone())],
            nanos: timed.of(&contender.name, |nanos| *nanos),
        });
        Lazy { contender: contender.clone(), taken: taken.collect() }
    };
    Ok(contenders.iter().map(of).collect())
}
