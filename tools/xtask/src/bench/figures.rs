//! The operations that are counted: the bound of each, and its floors.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::valgrind::{Cost, Valgrind};

/// The cost of one operation.
#[derive(Serialize)]
pub(super) struct Figure {
    pub(super) operation: &'static str,
    /// What it is built on, whose cost is subtracted.
    pub(super) over: Option<Measured>,
    pub(super) cost: Cost,
    /// `None` for a figure without a bound.
    pub(super) must: Option<Must>,
    pub(super) holds: bool,
    pub(super) floors: Vec<Measured>,
}

/// The most that an operation may cost.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Must {
    pub(super) instructions: u64,
    pub(super) allocations: Option<u64>,
}

impl Must {
    fn holds(self, cost: Cost) -> bool {
        cost.instructions <= self.instructions && self.allocations.is_none_or(|most| cost.allocations <= most)
    }

    /// Returns the bound as text. `sign` is "+" for a cost on top of something else.
    pub(super) fn text(self, sign: &str) -> String {
        let allocations = self.allocations.map(|most| format!(", {sign}{most}")).unwrap_or_default();
        format!("<= {sign}{}{allocations}", self.instructions)
    }
}

/// The cost of something else, from the same run.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) cost: Cost,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { operation, cost, must, .. } = self;
        write!(f, "{operation}: {} instructions, {} allocations", cost.instructions, cost.allocations)?;
        must.map_or(Ok(()), |must| write!(f, " (must: {})", must.text("")))
    }
}

/// A row of the table before it is measured. `run` is an operation of `reqscope-bench`.
struct Row {
    operation: &'static str,
    run: &'static str,
    over: Option<Compared>,
    must: Option<Must>,
    floors: &'static [Compared],
}

struct Compared {
    name: &'static str,
    run: &'static str,
}

const PLAIN: Compared = Compared { name: "plain hyper", run: "http-plain" };

const TOWER: Compared = Compared { name: "the service without the layer", run: "tower-plain" };

const ROUTER: Compared = Compared { name: "the router with a layer that does nothing", run: "router-plain" };

const ROWS: &[Row] = &[
    Row {
        operation: "open and drop an unused scope",
        run: "scope-unused",
        over: None,
        must: Some(Must { instructions: 350, allocations: Some(1) }),
        floors: &[
            Compared { name: "`OnceCell`", run: "once-cell-unused" },
            Compared { name: "`Lazy`", run: "lazy-unused" },
        ],
    },
    Row {
        operation: "open, first get, return the guard, close",
        run: "scope-first",
        over: None,
        must: Some(Must { instructions: 1_100, allocations: Some(3) }),
        floors: &[
            Compared { name: "`OnceCell`", run: "once-cell-first" },
            Compared { name: "`Lazy`", run: "lazy-first" },
        ],
    },
    Row {
        operation: "the same for a resource without shortcuts, in a task",
        run: "scope-first-plain",
        over: None,
        must: Some(Must { instructions: 2_600, allocations: Some(3) }),
        floors: &[],
    },
    Row {
        operation: "later get, return the guard",
        run: "scope-later",
        over: None,
        must: Some(Must { instructions: 200, allocations: Some(0) }),
        floors: &[
            Compared { name: "`OnceCell`", run: "once-cell-later" },
            Compared { name: "`Lazy`", run: "lazy-later" },
        ],
    },
    Row {
        // A look-up that scans the cells costs 40,000 here.
        operation: "first and later get of one of 2,000 cells in a scope, close",
        run: "scope-one-of-many",
        over: None,
        must: Some(Must { instructions: 6_000, allocations: None }),
        floors: &[],
    },
    Row {
        operation: "HTTP/1 request, scope unused",
        run: "http-unused",
        over: Some(PLAIN),
        must: Some(Must { instructions: 1_500, allocations: None }),
        floors: &[Compared { name: "`OnceCell` in the request", run: "http-once-cell-unused" }],
    },
    Row {
        operation: "HTTP/1 request, handle used and released",
        run: "http-used",
        over: Some(PLAIN),
        must: Some(Must { instructions: 2_400, allocations: None }),
        floors: &[Compared { name: "`OnceCell` in the request", run: "http-once-cell-used" }],
    },
    Row {
        operation: "tower layer, scope unused",
        over: Some(TOWER),
        run: "tower-unused",
        must: Some(Must { instructions: 1_600, allocations: None }),
        floors: &[],
    },
    Row {
        operation: "tower layer, handle used and released",
        over: Some(TOWER),
        run: "tower-used",
        must: Some(Must { instructions: 2_600, allocations: Some(4) }),
        floors: &[],
    },
    Row {
        operation: "axum router, scope unused",
        over: Some(ROUTER),
        run: "router-unused",
        must: Some(Must { instructions: 1_620, allocations: Some(4) }),
        floors: &[],
    },
    Row {
        operation: "axum router, handle used and released",
        over: Some(ROUTER),
        run: "router-used",
        must: Some(Must { instructions: 2_880, allocations: Some(6) }),
        floors: &[],
    },
    Row {
        operation: "pool: get, return",
        run: "pool-get",
        over: None,
        // 54 of them read the clock, and 28 are tokio's cooperative budget.
        must: Some(Must { instructions: 300, allocations: Some(0) }),
        floors: &[
            Compared { name: "`Semaphore` and `Mutex<Vec>`", run: "semaphore-get" },
            Compared { name: "`Mutex<Vec>`", run: "stack-get" },
        ],
    },
    Row {
        operation: "the same from four places of the program in turn",
        run: "pool-places",
        over: None,
        must: Some(Must { instructions: 320, allocations: Some(0) }),
        floors: &[],
    },
    Row {
        operation: "pool: get, drop; the probe knows nothing",
        run: "pool-dropped",
        over: None,
        // The next check-out validates the handle, in its own poll.
        must: Some(Must { instructions: 730, allocations: Some(0) }),
        floors: &[],
    },
    Row {
        operation: "pool: get with a validation, return",
        run: "pool-validated",
        over: None,
        must: Some(Must { instructions: 800, allocations: Some(0) }),
        floors: &[],
    },
    Row {
        operation: "pool in a scope: open, first get, return the guard, close",
        run: "pool-first",
        over: None,
        must: None,
        floors: &[Compared { name: "the scope without a pool", run: "scope-first" }],
    },
    Row {
        operation: "pool in a scope: later get, return the guard",
        run: "pool-later",
        over: None,
        must: None,
        floors: &[Compared { name: "the scope without a pool", run: "scope-later" }],
    },
];

/// The operations that README.md shows.
pub(super) const KEY: [&str; 5] = [
    "open and drop an unused scope",
    "open, first get, return the guard, close",
    "later get, return the guard",
    "HTTP/1 request, handle used and released",
    "pool: get, return",
];

/// Measures every row.
pub(super) fn measure(valgrind: &Valgrind, program: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut known = HashMap::new();
    let mut cost = |run: &'static str| -> anyhow::Result<Cost> {
        if let Some(cost) = known.get(run) {
            return Ok(*cost);
        }
        let cost = valgrind.cost(program, &["run", run])?;
        known.insert(run, cost);
        Ok(cost)
    };
    let mut figures = Vec::new();
    for row in ROWS {
        let over = match &row.over {
            Some(over) => Some(Measured { name: over.name, cost: cost(over.run)? }),
            None => None,
        };
        let above = |cost: Cost| over.map_or(cost, |over| cost.over(over.cost));
        let mut floors = Vec::new();
        for floor in row.floors {
            floors.push(Measured { name: floor.name, cost: above(cost(floor.run)?) });
        }
        let cost = above(cost(row.run)?);
        let holds = row.must.is_none_or(|must| must.holds(cost));
        figures.push(Figure { operation: row.operation, over, cost, must: row.must, holds, floors });
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_figure_is_a_row_of_the_table() {
        assert!(KEY.iter().all(|key| ROWS.iter().any(|row| row.operation == *key)));
    }

    #[test]
    fn bound_includes_its_own_figures() {
        let must = Must { instructions: 200, allocations: Some(0) };
        assert!(must.holds(Cost { instructions: 200, allocations: 0 }));
        assert!(!must.holds(Cost { instructions: 201, allocations: 0 }));
        assert!(!must.holds(Cost { instructions: 100, allocations: 1 }));
        let any = Must { instructions: 200, allocations: None };
        assert!(any.holds(Cost { instructions: 200, allocations: 9 }));
    }
}
