//! What a client does with its request, drawn from a seed.
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

use crate::client::protocol::Protocol;

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
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
    /// The client takes no byte of any body, and hangs up.
    ClosedWindow,
    /// The client says that it sends no more, and waits for the answers.
    GoAway,
    /// The client says that it sends no more, and hangs up.
    GoAwayFin,
}

impl Fate {
    /// The fates of a protocol with their weights, which add up to 100.
    pub(crate) fn weights(protocol: Protocol) -> &'static [(Fate, u64)] {
        match protocol {
            Protocol::Http1 => &[
                (Fate::Complete, 30),
                (Fate::Fin, 20),
                (Fate::Reset, 20),
                (Fate::MidBody, 15),
                (Fate::HalfClose, 3),
                (Fate::HalfRequest, 2),
                (Fate::Pipeline, 10),
            ],
            Protocol::Http2 => &[
                (Fate::Complete, 30),
                (Fate::ResetStream, 25),
                (Fate::MidBody, 13),
                (Fate::Fin, 9),
                (Fate::Reset, 9),
                (Fate::ClosedWindow, 4),
                (Fate::GoAway, 4),
                (Fate::GoAwayFin, 4),
                (Fate::HalfRequest, 2),
            ],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Fate::Complete => "complete",
            Fate::Fin => "FIN",
            Fate::Reset => "RST",
            Fate::MidBody => "hang up in mid-body",
            Fate::HalfClose => "half-close",
            Fate::HalfRequest => "half a request",
            Fate::Pipeline => "three pipelined, hang up",
            Fate::ResetStream => "RST_STREAM",
            Fate::ClosedWindow => "closed window, hang up",
            Fate::GoAway => "GOAWAY, wait",
            Fate::GoAwayFin => "GOAWAY, FIN",
        }
    }

    /// Does the client stay until it has all its answers?
    pub(crate) fn waits(self) -> bool {
        matches!(self, Fate::Complete | Fate::GoAway)
    }
}

/// How a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    Fin,
    Reset,
}

/// One client's part, decided to the last byte before it begins.
pub(crate) struct Part {
    pub(crate) fate: Fate,
    pub(crate) paths: Vec<&'static str>,
    pub(crate) hangup: Hangup,
    /// From the request to the hang-up.
    pub(crate) after: Duration,
    /// How much of the request is sent ([`Fate::HalfRequest`]) or of the body is read ([`Fate::MidBody`]), of 1.
    pub(crate) share: f64,
}

/// About what `/stream` sends; a client that hangs up in mid-body has read a part of this.
pub(crate) const STREAMED: f64 = (8 * 16 * 1024) as f64;

/// The paths that a storm asks for, with their weights.
pub(crate) const PATHS: [(&str, u64); 7] =
    [("/use", 35), ("/tx", 5), ("/both", 20), ("/stream", 15), ("/none", 10), ("/late", 10), ("/bare", 5)];

/// The same for clients that hang up at a random moment.
///
/// Transactions queue. If those who stay asked for as many, the queue would be longer than anybody's patience, and
/// nobody would be cut in a transaction that has begun.
const PATHS_OF_THE_IMPATIENT: [(&str, u64); 7] =
    [("/use", 25), ("/tx", 30), ("/both", 15), ("/stream", 10), ("/none", 5), ("/late", 10), ("/bare", 5)];

impl Part {
    /// The part with this number in the storm of this seed, whichever thread plays it.
    pub(crate) fn draw(protocol: Protocol, seed: u64, number: u64) -> Part {
        // Spread, or the storms of neighbouring seeds would share nearly all their parts.
        let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..).wrapping_add(number));
        let fate = weighted(&mut rng, Fate::weights(protocol));
        let paths = match fate {
            // The one path whose body takes its time.
            Fate::MidBody => vec!["/stream"],
            Fate::Complete | Fate::HalfClose | Fate::HalfRequest => vec![weighted(&mut rng, &PATHS)],
            Fate::Fin | Fate::Reset if protocol == Protocol::Http2 => several(&mut rng, &PATHS_OF_THE_IMPATIENT),
            Fate::Fin | Fate::Reset | Fate::ResetStream => vec![weighted(&mut rng, &PATHS_OF_THE_IMPATIENT)],
            Fate::Pipeline => (0..3).map(|_| weighted(&mut rng, &PATHS_OF_THE_IMPATIENT)).collect(),
            Fate::GoAway => several(&mut rng, &PATHS),
            Fate::GoAwayFin => several(&mut rng, &PATHS_OF_THE_IMPATIENT),
            // The window of the first one is known to be closed around a body. A second body behind it could hold what
            // the first one waits for: two such clients and a pool of two, and all is at a standstill.
            Fate::ClosedWindow => {
                let others = several(&mut rng, &PATHS).into_iter().filter(|path| *path != "/stream");
                [vec!["/stream"], others.collect()].concat()
            }
        };
        let hangup = match fate {
            Fate::Fin | Fate::GoAwayFin => Hangup::Fin,
            Fate::Reset => Hangup::Reset,
            _ if rng.bool() => Hangup::Fin,
            _ => Hangup::Reset,
        };
        Part { fate, paths, hangup, after: Duration::from_micros(rng.u64(0..10_000)), share: rng.f64() }
    }
}

/// The streams of one connection.
fn several(rng: &mut Rng, paths: &[(&'static str, u64)]) -> Vec<&'static str> {
    (0..rng.u64(1..=4)).map(|_| weighted(rng, paths)).collect()
}

fn weighted<T: Copy>(rng: &mut Rng, choices: &[(T, u64)]) -> T {
    let sum: u64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut drawn = rng.u64(..sum);
    for (choice, weight) in choices {
        match drawn.checked_sub(*weight) {
            Some(rest) => drawn = rest,
            None => return *choice,
        }
    }
    unreachable!("what is drawn is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use super::{Fate, Hangup, Part};
    use crate::client::protocol::Protocol::{self, Http1, Http2};

    #[test]
    fn a_part_depends_on_its_protocol_its_seed_and_its_number_alone() {
        let drawn = |protocol, seed, number| {
            let part = Part::draw(protocol, seed, number);
            (part.fate, part.paths, part.hangup, part.after, part.share.to_bits())
        };
        for protocol in [Http1, Http2] {
            assert_eq!(drawn(protocol, 1, 2), drawn(protocol, 1, 2));
            assert_ne!(drawn(protocol, 1, 2), drawn(protocol, 1, 3));
            // Neighbouring seeds share nothing.
            assert_ne!(drawn(protocol, 1, 2), drawn(protocol, 2, 1));
        }
    }

    fn drawn(protocol: Protocol) -> Vec<Part> {
        let drawn: Vec<_> = (0..100_000).map(|number| Part::draw(protocol, 1, number)).collect();
        for (fate, weight) in Fate::weights(protocol) {
            let share = drawn.iter().filter(|part| part.fate == *fate).count() as u64;
            assert!(share.abs_diff(weight * 1000) < 500, "{} was drawn {share} times", fate.name());
        }
        drawn
    }

    #[test]
    fn fates_are_drawn_by_their_weights() {
        let drawn = drawn(Http1);
        assert!(drawn.iter().all(|part| part.paths.len() == if part.fate == Fate::Pipeline { 3 } else { 1 }));
        let resets = drawn.iter().filter(|part| part.fate == Fate::MidBody && part.hangup == Hangup::Reset).count();
        assert!(resets.abs_diff(7_500) < 500, "{resets} of 15,000 hang-ups in mid-body are resets");
    }

    #[test]
    fn over_http2_a_connection_is_cut_with_one_to_four_streams() {
        let cut: Vec<_> = drawn(Http2).into_iter().filter(|part| part.fate == Fate::Reset).collect();
        for streams in 1..=4 {
            let share = cut.iter().filter(|part| part.paths.len() == streams).count();
            assert!(share.abs_diff(cut.len() / 4) < 200, "{share} of {} have {streams} streams", cut.len());
        }
    }

    #[test]
    fn behind_a_closed_window_stands_one_body_that_takes_its_time() {
        for part in drawn(Http2).iter().filter(|part| part.fate == Fate::ClosedWindow) {
            let bodies: Vec<_> = part.paths.iter().map(|path| *path == "/stream").collect();
            assert!(bodies[0] && !bodies[1..].contains(&true), "{:?}", part.paths);
        }
    }
}
