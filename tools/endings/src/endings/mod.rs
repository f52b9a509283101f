//! The endings, one file for each kind.

mod answers;
mod lease_bodies;
mod disconnects;
mod http2;
mod uploads;
mod panics;
mod timeouts;
mod spawned;
mod commits;
mod shutdown;

use crate::Ending;

/// Returns every ending, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Ending> {
    let kinds = [
        answers::ENDINGS,
        lease_bodies::ENDINGS,
        disconnects::ENDINGS,
        http2::ENDINGS,
        uploads::ENDINGS,
        panics::ENDINGS,
        timeouts::ENDINGS,
        spawned::ENDINGS,
        commits::ENDINGS,
        shutdown::ENDINGS,
    ];
    kinds.into_iter().flatten()
}
