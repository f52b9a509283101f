use std::borrow::Cow;

use crate::error::ConnectFailure;

/// What a pool holds now, and what it has done so far. Returned by [`Pool::status`](crate::Pool::status).
///
/// The gauges, down to `down`, are from one instant. The counters after them only grow. Each counter is exact by
/// itself, but two of them may be a few events apart while threads are at work. When the pool is quiet, `created` is
/// `retired` plus the number of live handles.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Pool, resource_fn};
/// # use std::convert::Infallible;
///
/// let pool = Pool::builder().max_size(2).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
/// let handle = pool.get().await.unwrap();
/// let status = pool.status();
/// assert_eq!((status.max_size, status.in_use, status.idle), (2, 1, 0));
/// pool.put(handle);
/// assert_eq!((pool.status().uses, pool.status().created), (1, 1));
/// # });
/// ```
///
/// If `waiting` and `timeouts` grow while few handles are in use, connecting is slow. If they grow while all handles
/// are in use, the pool is too small or some uses are too long; [`holders`](crate::Pool::holders) and `held_too_long`
/// show which. If `created` grows as fast as `uses`, handles are not reused.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The [name of the pool](crate::pool::PoolBuilder::name), or else the type of the resource.
    pub name: Cow<'static, str>,
    /// The maximum number of handles.
    pub max_size: usize,
    /// The number of handles that are lent or being validated.
    pub in_use: usize,
    /// The number of handles that are idle.
    pub idle: usize,
    /// The number of handles that are being created.
    pub creating: usize,
    /// The number of handles that are being released, and keep their slots meanwhile.
    pub ending: usize,
    /// The number of callers that wait.
    pub waiting: usize,
    /// Whether the pool is [paused](crate::Pool::pause).
    pub paused: bool,
    /// Whether the backend is down: the last creation failed, and none has succeeded since.
    pub down: bool,
    /// The last failed creation, even if one has succeeded since.
    pub last_failure: Option<ConnectFailure>,
    /// The number of handles created so far.
    pub created: u64,
    /// The number of creations that failed, panicked or missed the create timeout.
    pub create_failed: u64,
    /// The number of handles that were retired, for whatever reason.
    pub retired: u64,
    /// The number of handles that were found dead or failed their validation. They are also counted as retired.
    pub unsound: u64,
    /// The number of uses that have ended, also with a dead handle.
    pub uses: u64,
    /// The number of check-outs that had to wait, for a lent handle or a creation.
    pub waits: u64,
    /// The number of check-outs that missed the [acquire timeout](crate::pool::PoolBuilder::acquire_timeout).
    pub timeouts: u64,
    /// The number of uses that took longer than [`leak_after`](crate::pool::PoolBuilder::leak_after).
    pub held_too_long: u64,
}
