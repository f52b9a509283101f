//! The position of a connection in its script: no socket, no clock, no runtime.
//!
//! 1. A step takes effect at the moment in which the one before ends; no byte passes in between.
//! 2. What was swallowed is not replaced: a black hole and a close are permanent.
//! 3. A connection ends once: the first end counts.
//!
//! What may pass in one direction; the first row that matches applies:
//!
//! | direction | bytes and a FIN | a reset |
//! |---|---|---|
//! | of a connection that has ended | wait (it is about to be dropped) | waits |
//! | in a black hole | are swallowed | is swallowed |
//! | stalled | wait | waits |
//! | closed: the receiver has its FIN, or is gone | are swallowed | passes |
//! | where the script counts bytes | pass, up to that number, and then the next step begins | passes |
//! | otherwise | pass | passes |

use std::collections::VecDeque;
use std::time::Duration;

use super::direction::{Direction, Way};
use super::script::{Script, Step};
use crate::gate::Gate;

/// Plays the script of one connection.
#[derive(Default)]
pub(super) struct Playback {
    steps: VecDeque<Step>,
    wait: Wait,
    /// The number of the wait, so that the end of an earlier one does not end this one.
    wait_number: u64,
    lanes: [Lane; 2],
    end: Option<Close>,
    changed: bool,
}

/// What the current step waits for.
#[derive(Clone, Default)]
pub(super) enum Wait {
    /// The script has ended.
    #[default]
    Nothing,
    /// The relay reports the bytes that have passed.
    Bytes(Direction, u64),
    Time(Duration),
    Gate(Gate),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// Both ends have closed, and have received each other's FIN.
    Over,
    Cut,
    Reset,
}

/// What may pass in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// This many bytes, and then the next step begins.
    Open(u64),
    Shut,
    Swallowing,
}

#[derive(Default)]
struct Lane {
    stalled: bool,
    hole: bool,
    delay: Duration,
    /// The receiver gets, or has got, a FIN, or is gone.
    closed: bool,
    /// The sender has closed.
    sender_closed: bool,
    /// The sender has reset, as a write to it has shown.
    reset: bool,
}

impl Playback {
    /// Plays this script from now on, and lifts what the one before had set.
    pub(super) fn play(&mut self, script: Script) {
        self.steps = script.steps;
        self.heal();
        self.advance();
    }

    /// Returns what may pass of bytes and a FIN.
    pub(super) fn passage(&self, way: Way) -> Passage {
        match (self.passage_of_reset(way), &self.wait) {
            (Passage::Open(_), _) if self.lanes[way as usize].closed => Passage::Swallowing,
            (Passage::Open(_), Wait::Bytes(direction, left)) if direction.covers(way) => Passage::Open(*left),
            (passage, _) => passage,
        }
    }

    /// Returns what may pass of a reset, which may come after a FIN.
    pub(super) fn passage_of_reset(&self, way: Way) -> Passage {
        let lane = &self.lanes[way as usize];
        match self.end {
            Some(_) => Passage::Shut,
            None if lane.hole => Passage::Swallowing,
            None if lane.stalled => Passage::Shut,
            None => Passage::Open(u64::MAX),
        }
    }

    /// Counts bytes that have passed; no more than were allowed.
    pub(super) fn passed(&mut self, way: Way, bytes: u64) {
        let Wait::Bytes(direction, left) = &mut self.wait else { return };
        if direction.covers(way) {
            *left -= bytes;
            if *left == 0 {
                self.advance(); // at once (1)
            }
        }
    }

    /// Ends the wait with this number.
    pub(super) fn waited(&mut self, wait_number: u64) {
        if self.wait_number == wait_number {
            self.advance();
        }
    }

    /// Notes that the sender has closed. Its FIN has yet to pass.
    pub(super) fn sender_closed(&mut self, way: Way) {
        self.lanes[way as usize].sender_closed = true;
        self.settle();
    }

    /// Notes that the sender's FIN may pass: the receiver gets one.
    pub(super) fn close(&mut self, way: Way) {
        self.lanes[way as usize].closed = true;
        self.settle();
    }

    /// Notes that the receiver is gone. For the other direction that is a reset by its sender.
    pub(super) fn lost_receiver(&mut self, way: Way) {
        self.lanes[way.back() as usize].reset = true;
        self.changed = true;
        self.close(way);
    }

    /// Returns, once, whether the sender has reset without a read by the relay.
    pub(super) fn take_reset(&mut self, way: Way) -> bool {
        std::mem::take(&mut self.lanes[way as usize].reset)
    }

    /// Returns whether the receiver is to get a FIN.
    pub(super) fn is_closed(&self, way: Way) -> bool {
        let lane = &self.lanes[way as usize];
        lane.closed && !lane.hole
    }

    /// Returns whether no end can notice the other.
    pub(super) fn is_black_hole(&self) -> bool {
        self.lanes.iter().all(|lane| lane.hole)
    }

    pub(super) fn delay(&self, way: Way) -> Duration {
        self.lanes[way as usize].delay
    }

    pub(super) fn wait(&self) -> (u64, Wait) {
        (self.wait_number, self.wait.clone())
    }

    pub(super) fn wait_number(&self) -> u64 {
        self.wait_number
    }

    pub(super) fn end(&mut self, end: Close) {
        self.end.get_or_insert(end); // (3)
        self.begin(Wait::Nothing);
    }

    pub(super) fn ended(&self) -> Option<Close> {
        self.end
    }

    /// Returns, once, whether something has changed that the other parts of the task have to check.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes steps until one has to wait.
    fn advance(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Forward(_, 0) => {}
                Step::Forward(direction, bytes) => return self.begin(Wait::Bytes(direction, bytes)),
                Step::Pause(time) => return self.begin(Wait::Time(time)),
                Step::Pass(gate) => return self.begin(Wait::Gate(gate)),
                Step::Stall(direction) => self.lanes_of(direction).for_each(|lane| lane.stalled = true),
                Step::BlackHole(direction) => self.lanes_of(direction).for_each(|lane| lane.hole = true),
                Step::Delay(direction, time) => self.lanes_of(direction).for_each(|lane| lane.delay = time),
                Step::HalfClose(direction) => {
                    self.lanes_of(direction).for_each(|lane| lane.closed = true);
                    self.settle();
                }
                Step::Heal => self.heal(),
                Step::Cut => return self.end(Close::Cut),
                Step::Reset => return self.end(Close::Reset),
            }
        }
        self.begin(Wait::Nothing);
    }

    fn begin(&mut self, wait: Wait) {
        self.wait = wait;
        self.wait_number += 1;
        self.changed = true;
    }

    /// Lifts the faults that have lost nothing yet (2).
    fn heal(&mut self) {
        for lane in &mut self.lanes {
            lane.stalled = false;
            lane.delay = Duration::ZERO;
        }
    }

    /// Ends the connection if both directions are closed. One in a black hole never is.
    fn settle(&mut self) {
        if self.lanes.iter().all(|lane| lane.closed && lane.sender_closed && !lane.hole) {
            self.end(Close::Over);
        }
    }

    fn lanes_of(&mut self, direction: Direction) -> impl Iterator<Item = &mut Lane> {
        let ways = [Way::ToServer, Way::ToClient].into_iter();
        ways.zip(&mut self.lanes).filter(move |(way, _)| direction.covers(*way)).map(|(_, lane)| lane)
    }
}
