//! Everybody in turn, again and again: what the machine does meanwhile, it does to all.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Context;
use reqscope_records::compare::Round;

/// So many rounds, each in an order of its own. Who cannot do it stays out.
pub(crate) fn rounds<N: Copy + Display, T>(
    contenders: &[N],
    rounds: usize,
    mut measure: impl FnMut(N) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Vec<Round<T>>> {
    let first = contenders.first().context("there is nobody to measure")?;
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
