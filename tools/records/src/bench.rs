//! What `reqscope-bench` prints. Times are in nanoseconds.

use serde::{Deserialize, Serialize};

/// A server whose clients hang up: `memory`.
#[derive(Debug, Deserialize, Serialize)]
pub struct MemoryRun {
    /// How many requests were sent in all.
    pub requests: u64,
    /// How many clients hung up before their answer.
    pub hung_up: u64,
    /// How many handles were released without an answer.
    pub cut: u64,
    /// Resident bytes after one half of the requests.
    pub middle: u64,
    /// Resident bytes after all requests.
    pub end: u64,
}

/// Requests a second over loopback, one number for each round: `throughput`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ThroughputRun {
    /// Of the service without the layer.
    pub plain: Vec<f64>,
    /// The same once more: the difference is noise.
    pub again: Vec<f64>,
    /// With the layer, the scope unused.
    pub unused: Vec<f64>,
    /// With the layer, a handle used and released.
    pub used: Vec<f64>,
}

/// An operation of reqscope and the one that it is compared with, in turns, one number for each round: `checkout` and
/// `departures`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Turns {
    /// Ours.
    pub ours: Vec<f64>,
    /// What ours is compared with.
    pub floor: Vec<f64>,
    /// The floor once more: the difference is noise.
    pub again: Vec<f64>,
}

impl Turns {
    /// Adds one round.
    pub fn push(&mut self, [ours, floor, again]: [f64; 3]) {
        self.ours.push(ours);
        self.floor.push(floor);
        self.again.push(again);
    }
}

/// Many tasks that share one handle, and one `Mutex` of tokio, in turns: `crowd`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct CrowdRun {
    /// How many tasks there are.
    pub tasks: u64,
    /// How many uses all of them have in one turn.
    pub uses: u64,
    /// The time of one use of the handle of a scope, and of the `Mutex`.
    pub turns: Turns,
}

/// The time of one operation: `scaling`.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ScalingRun {
    /// One thread opens and drops scopes; one number for each round.
    pub alone: Vec<f64>,
    /// Two threads open and drop scopes of one `Scopes`. The floor is two threads that count in counters of their own,
    /// and do as much local work.
    pub turns: Turns,
}

/// A backend that stops and comes back under a pool: `outage` and `mysql recovery`.
#[derive(Debug, Deserialize, Serialize)]
pub struct OutageRun {
    /// How many callers ask the pool all the time, with a pause of 10 ms after each answer.
    pub callers: u64,
    /// How many answers the callers received to what they asked while the breaker was open and the backend down.
    pub answers: u64,
    /// The median time that those answers took.
    pub answer_p50: u64,
    /// Their 99th percentile.
    pub answer_p99: u64,
    /// The longest of them.
    pub answer_longest: u64,
    /// The median lag of a timer that was as long as the callers' pause, over the whole run.
    pub lag_p50: u64,
    /// Its 99th percentile.
    pub lag_p99: u64,
    /// The longest lag.
    pub lag_longest: u64,
    /// How often the pool tried to connect during the outages.
    pub connects: u64,
    /// How many steps of 15 ms the outages had, which is the shortest time between two probes.
    pub steps: u64,
    /// The most attempts to connect within one step.
    pub most_per_step: u64,
    /// For each restart, how long after the first success of a client without a pool, which tries each millisecond, the
    /// first caller received an answer of the backend.
    pub delays: Vec<u64>,
}

/// A connection checked out of a pool and returned: `mysql checkout`. The floor is the driver.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct CheckoutRun {
    /// The version of the server.
    pub server: String,
    /// How many check-outs the questions were counted for.
    pub checkouts: i64,
    /// How many questions the server was asked for so many check-outs.
    pub questions: Questions,
    /// One connection, reset each time.
    pub waited: Turns,
    /// One connection without a reset, the driver's with a reset.
    pub kept: Turns,
    /// Ten connections, reset while no caller wants them.
    pub aside: Turns,
}

/// How many questions a server counted. A COM_RESET_CONNECTION counts as one.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Questions {
    /// By our pool.
    pub reqscope: i64,
    /// By the driver's pool.
    pub driver: i64,
    /// By our pool without a reset.
    pub kept: i64,
}

/// Prepared queries: `mysql query`. The floor is the driver.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct QueryRun {
    /// With another timer on the runtime.
    pub ticking: Turns,
    /// Without another timer.
    pub still: Turns,
}

/// A server that is frozen under a pool: `mysql frozen`.
#[derive(Debug, Deserialize, Serialize)]
pub struct FrozenRun {
    /// How many callers ask all the time.
    pub callers: u64,
    /// How many connections they share.
    pub connections: u64,
    /// How often the server was frozen.
    pub freezes: u64,
    /// The deadline of each question, to the pool and to the server.
    pub deadline: u64,
    /// How many answers the callers received to questions that were open while the server was frozen.
    pub answers: u64,
    /// How many of those came after the deadline.
    pub late: u64,
    /// The median time by which they were late.
    pub late_p50: u64,
    /// Its 99th percentile.
    pub late_p99: u64,
    /// The longest.
    pub late_longest: u64,
    /// The median lag of a timer, over the whole run.
    pub lag_p50: u64,
    /// Its 99th percentile.
    pub lag_p99: u64,
    /// The longest lag.
    pub lag_longest: u64,
}
