//! Rounds in which each contender has a turn, so that the load of the machine affects all of them.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Context;
use reqscope_records::compare::Round;

/// Runs so many rounds, each in a random order. A contender whose `measure` returns `None` takes no part.
pub(crate) fn rounds<N: Copy + Display, T>(
    contenders: &[N],
    rounds: usize,
    mut measure: impl FnMut(N) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Vec<Round<T>>> {
    let first = contenders.first().context("there is no contender")?;
    (0..rounds)
        .map(|_| {
            let mut order: Vec<&N> = contenders.iter().chain([first]).collect();
            fastrand::shuffle(&mut order);
            let (mut each, mut again) = (BTreeMap::new(), None);
            for name in order {
                let Some(outcome) = measure(*name)? else { continue };
                if let Some(earlier) = each.insert(name.to_string(), outcome) {
                    again = Some(earlier);
                }
            }
            Ok(Round { each, again: again.context("the first has two turns")? })
        })
        .collect()
}
