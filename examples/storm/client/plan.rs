//! What a client does, drawn from a seed.
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

use crate::client::protocol::Protocol;

/// A way in which a client sends its requests and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// The client waits for the answer, and keeps the connection.
    Complete,
    /// The client closes the connection at a random moment, with all that is in flight on it.
    Fin,
    /// The client resets the connection at a random moment, with all that is in flight on it.
    Reset,
    /// The client hangs up while the body of the answer arrives; over HTTP/2 it resets the stream.
    MidBody,
    /// The client closes its own direction and waits for the answer.
    HalfClose,
    /// The client sends a part of the request's head and hangs up.
    HalfRequest,
    /// The client sends three requests at once and hangs up.
    Pipeline,
    /// The client resets one stream among others at a random moment.
    ResetStream,
    /// The client opens no window for the bodies, and hangs up.
    ClosedWindow,
    /// The client sends GOAWAY and waits for the answers.
    GoAway,
    /// The client sends GOAWAY and hangs up.
    GoAwayFin,
}

impl Scenario {
    /// Returns the scenarios of a protocol with their weights, which add up to 100.
    pub(crate) fn weights(protocol: Protocol) -> &'static [(Scenario, u64)] {
        match protocol {
            Protocol::Http1 => &[
                (Scenario::Complete, 30),
                (Scenario::Fin, 20),
                (Scenario::Reset, 20),
                (Scenario::MidBody, 15),
                (Scenario::HalfClose, 3),
                (Scenario::HalfRequest, 2),
                (Scenario::Pipeline, 10),
            ],
            Protocol::Http2 => &[
                (Scenario::Complete, 30),
                (Scenario::ResetStream, 25),
                (Scenario::MidBody, 13),
                (Scenario::Fin, 9),
                (Scenario::Reset, 9),
                (Scenario::ClosedWindow, 4),
                (Scenario::GoAway, 4),
                (Scenario::GoAwayFin, 4),
                (Scenario::HalfRequest, 2),
            ],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Complete => "complete",
            Scenario::Fin => "FIN",
            Scenario::Reset => "RST",
            Scenario::MidBody => "hang up in mid-body",
            Scenario::HalfClose => "half-close",
            Scenario::HalfRequest => "half a request",
            Scenario::Pipeline => "three pipelined, hang up",
            Scenario::ResetStream => "RST_STREAM",
            Scenario::ClosedWindow => "closed window, hang up",
            Scenario::GoAway => "GOAWAY, wait",
            Scenario::GoAwayFin => "GOAWAY, FIN",
        }
    }

    /// Returns whether the client stays until it has all its answers.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Scenario::Complete | Scenario::GoAway)
    }
}

/// How a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    Fin,
    Reset,
}

/// What one client will do: a scenario with all of its details, fixed before it begins.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) paths: Vec<&'static str>,
    pub(crate) hangup: Hangup,
    /// The time from the request to the hang-up.
    pub(crate) after: Duration,
    /// The share of the request that is sent ([`Scenario::HalfRequest`]), or of the body that is read
    /// ([`Scenario::MidBody`]), from 0 to 1.
    pub(crate) share: f64,
}

/// Roughly how many bytes `/stream` sends. A client that hangs up in mid-body reads a part of them.
pub(crate) const STREAMED: f64 = (8 * 16 * 1024) as f64;

/// The paths that the clients request, with their weights.
pub(crate) const PATHS: [(&str, u64); 7] =
    [("/use", 35), ("/tx", 5), ("/both", 20), ("/stream", 15), ("/none", 10), ("/late", 10), ("/bare", 5)];

/// The same for clients that hang up at a random moment.
///
/// Transactions queue. If the clients that stay began as many, the queue would be so long that no request would be cut
/// in a transaction that has begun.
const PATHS_BEFORE_HANG_UP: [(&str, u64); 7] =
    [("/use", 25), ("/tx", 30), ("/both", 15), ("/stream", 10), ("/none", 5), ("/late", 10), ("/bare", 5)];

impl Plan {
    /// Draws the plan with this number in the storm of this seed. It does not depend on the thread that runs it.
    pub(crate) fn draw(protocol: Protocol, seed: u64, number: u64) -> Plan {
        // The seed is spread; otherwise storms of neighbouring seeds would share nearly all their plans.
        let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..).wrapping_add(number));
        let scenario = weighted(&mut rng, Scenario::weights(protocol));
        let paths = match scenario {
            // The one path whose body takes its time.
            Scenario::MidBody => vec!["/stream"],
            Scenario::Complete | Scenario::HalfClose | Scenario::HalfRequest => vec![weighted(&mut rng, &PATHS)],
            Scenario::Fin | Scenario::Reset if protocol == Protocol::Http2 => {
                several(&mut rng, &PATHS_BEFORE_HANG_UP)
            }
            Scenario::Fin | Scenario::Reset | Scenario::ResetStream => {
                vec![weighted(&mut rng, &PATHS_BEFORE_HANG_UP)]
            }
            Scenario::Pipeline => (0..3).map(|_| weighted(&mut rng, &PATHS_BEFORE_HANG_UP)).collect(),
            Scenario::GoAway => several(&mut rng, &PATHS),
            Scenario::GoAwayFin => several(&mut rng, &PATHS_BEFORE_HANG_UP),
            // The first request is for the body that waits for the closed window. A second body could hold the
            // connection that another one waits for: two such clients would deadlock a pool of two.
            Scenario::ClosedWindow => {
                let others = several(&mut rng, &PATHS).into_iter().filter(|path| *path != "/stream");
                [vec!["/stream"], others.collect()].concat()
            }
        };
        let hangup = match scenario {
            Scenario::Fin | Scenario::GoAwayFin => Hangup::Fin,
            Scenario::Reset => Hangup::Reset,
            _ if rng.bool() => Hangup::Fin,
            _ => Hangup::Reset,
        };
        Plan { scenario, paths, hangup, after: Duration::from_micros(rng.u64(0..10_000)), share: rng.f64() }
    }
}

/// Draws the paths of the streams of one connection.
fn several(rng: &mut Rng, paths: &[(&'static str, u64)]) -> Vec<&'static str> {
    (0..rng.u64(1..=4)).map(|_| weighted(rng, paths)).collect()
}

/// Draws one of the choices by their weights.
fn weighted<T: Copy>(rng: &mut Rng, choices: &[(T, u64)]) -> T {
    let sum: u64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut drawn = rng.u64(..sum);
    for (choice, weight) in choices {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return *choice,
        }
    }
    unreachable!("the drawn number is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use super::{Hangup, Plan, Scenario};
    use crate::client::protocol::Protocol::{self, Http1, Http2};

    #[test]
    fn plan_depends_on_protocol_seed_and_number_alone() {
        let drawn = |protocol, seed, number| {
            let plan = Plan::draw(protocol, seed, number);
            (plan.scenario, plan.paths, plan.hangup, plan.after, plan.share.to_bits())
        };
        for protocol in [Http1, Http2] {
            assert_eq!(drawn(protocol, 1, 2), drawn(protocol, 1, 2));
            assert_ne!(drawn(protocol, 1, 2), drawn(protocol, 1, 3));
            // Neighbouring seeds share nothing.
            assert_ne!(drawn(protocol, 1, 2), drawn(protocol, 2, 1));
        }
    }

    fn drawn(protocol: Protocol) -> Vec<Plan> {
        let drawn: Vec<_> = (0..100_000).map(|number| Plan::draw(protocol, 1, number)).collect();
        for (scenario, weight) in Scenario::weights(protocol) {
            let share = drawn.iter().filter(|plan| plan.scenario == *scenario).count() as u64;
            assert!(share.abs_diff(weight * 1000) < 500, "{} was drawn {share} times", scenario.name());
        }
        drawn
    }

    #[test]
    fn scenarios_are_drawn_by_their_weights() {
        let drawn = drawn(Http1);
        assert!(drawn.iter().all(|plan| plan.paths.len() == if plan.scenario == Scenario::Pipeline { 3 } else { 1 }));
        let resets =
            drawn.iter().filter(|plan| plan.scenario == Scenario::MidBody && plan.hangup == Hangup::Reset).count();
        assert!(resets.abs_diff(7_500) < 500, "{resets} of 15,000 hang-ups in mid-body are resets");
    }

    #[test]
    fn http2_connection_is_cut_with_one_to_four_streams() {
        let cut: Vec<_> = drawn(Http2).into_iter().filter(|plan| plan.scenario == Scenario::Reset).collect();
        for streams in 1..=4 {
            let share = cut.iter().filter(|plan| plan.paths.len() == streams).count();
            assert!(share.abs_diff(cut.len() / 4) < 200, "{share} of {} have {streams} streams", cut.len());
        }
    }

    #[test]
    fn closed_window_has_one_streamed_body() {
        for plan in drawn(Http2).iter().filter(|plan| plan.scenario == Scenario::ClosedWindow) {
            let bodies: Vec<_> = plan.paths.iter().map(|path| *path == "/stream").collect();
            assert!(bodies[0] && !bodies[1..].contains(&true), "{:?}", plan.paths);
        }
    }
}
