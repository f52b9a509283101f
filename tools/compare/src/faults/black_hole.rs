//! 10 idle connections are black-holed: what is sent gets lost without an error. The server is well, and a new
//! connection works. The next get must return a connection that works within the time of two unanswered pings, not
//! after one ping for each dead connection.

use std::sync::Arc;
use std::time::Duration;

use reqscope_testkit::{Direction, FaultProxy};
use tokio::time::{Instant, sleep};

use super::steps::{Unmet, ensure, fill, take};
use super::wired::{PING_TIMEOUT, Wired, serve};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 10;
const IN_TIME: Duration = PING_TIMEOUT.saturating_mul(2);
/// How long the caller tries, so that there is a figure.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let server = serve().await.map_err(Unmet::saw)?;
    let proxy = FaultProxy::start(server).map_err(Unmet::saw)?;
    let backend = Wired::new(proxy.addr());
    let settings = Settings { validates: true, ..Settings::new(SLOTS) };
    let pool = Arc::new(C::build(Arc::clone(&backend), &settings).await);
    let slots = C::lends(SLOTS);
    fill::<C, _>(&pool, slots).await?;
    // Handles that are validated on return are idle by then.
    sleep(PING_TIMEOUT).await;

    proxy.open().black_hole(Direction::Both);
    let pings = backend.pings();
    let begun = Instant::now();
    let mut guard = take::<C, _>(&pool, LIMIT).await?;
    let took = begun.elapsed();
    let pings = backend.pings() - pings;
    if pings == 0 {
        return Err(Unmet::NotOffered);
    }
    let works = backend.use_one(C::id(&mut guard).await).await;
    ensure!(works.is_ok(), "the next user gets a dead connection, after {pings} pings");
    ensure!(took <= IN_TIME, "the next get takes {took:.1?}, for {pings} pings of {PING_TIMEOUT:?}");
    Ok(())
}
