//! Everybody in turn, again and again: what the machine does meanwhile, it does to all.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;

use crate::contenders::Name;

/// What came of one turn of each.
#[derive(Serialize)]
pub(crate) struct Round<T> {
    each: BTreeMap<String, T>,
    /// The first of them once more: what differs between two turns of one contender is noise.
    again: T,
}

/// So many rounds, each in an order of its own.
pub(crate) fn rounds<T>(
    contenders: &[Name],
    rounds: usize,
    mut measure: impl FnMut(Name) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Round<T>>> {
    let first = contenders.first().context("there is nobody to measure")?;
    (0..rounds)
        .map(|_| {
            let mut order: Vec<&Name> = contenders.iter().chain([first]).collect();
            fastrand::shuffle(&mut order);
            let (mut each, mut again) = (BTreeMap::new(), None);
            for name in order {
                if let Some(earlier) = each.insert(name.to_string(), measure(*name)?) {
                    again = Some(earlier);
                }
            }
            Ok(Round { each, again: again.context("the first has two turns")? })
        })
        .collect()
}
