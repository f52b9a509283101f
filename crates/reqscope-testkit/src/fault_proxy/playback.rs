//! Where a connection is in its script: no socket, no clock, no runtime.
//!
//! 1. A step takes effect in the moment in which the one before has ended; not a byte passes in between.
//! 2. What has been swallowed is not made up for: a black hole and a close are for good.
//! 3. What has ended stays as it ended.
//!
//! What may pass in one way; the first line that fits holds:
//!
//! | the way | bytes and a FIN | a reset |
//! |---|---|---|
//! | of a connection that has ended | wait (it is about to be dropped) | waits |
//! | in a black hole | are swallowed | is swallowed |
//! | stalled | wait | waits |
//! | closed: the receiver has been fin_sent so, or has gone | are swallowed | passes |
//! | on which the script counts bytes | pass, so many, and then the next step begins | passes |
//! | otherwise | pass | passes |

use std::collections::VecDeque;
use std::time::Duration;

use super::direction::{Direction, Way};
use super::script::{Script, Step};
use crate::gate::Gate;

/// One connection's play of its script.
#[derive(Default)]
pub(super) struct Playback {
    steps: VecDeque<Step>,
    wait: Wait,
    /// Counts the waits, so that the end of an old one is not taken for the end of this.
    turn: u64,
    lanes: [Lane; 2],
    end: Option<Close>,
    news: bool,
}

/// What the step that is on waits for.
#[derive(Clone, Default)]
pub(super) enum Wait {
    /// The script is over.
    #[default]
    Nothing,
    /// The relay tells when so many have passed.
    Bytes(Direction, u64),
    Time(Duration),
    Gate(Gate),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// Both have closed, and have been fin_sent of each other's close.
    Over,
    Cut,
    Reset,
}

/// What may pass in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// So many bytes, and then the next step begins.
    Open(u64),
    Shut,
    Swallowing,
}

#[derive(Default)]
struct Lane {
    stalled: bool,
    hole: bool,
    delay: Duration,
    /// The receiver is fin_sent that no more will come, or is not there any more.
    closed: bool,
    /// The sender will say no more.
    spent: bool,
    /// The sender has reset, as was seen when something was written to it.
    reset: bool,
}

impl Playback {
    /// Plays this script from now on; what the one before had set is lifted.
    pub(super) fn play(&mut self, script: Script) {
        self.steps = script.steps;
        self.heal();
        self.advance();
    }

    /// For bytes, and for a FIN.
    pub(super) fn passage(&self, way: Way) -> Passage {
        match (self.passage_of_reset(way), &self.wait) {
            (Passage::Open(_), _) if self.lanes[way as usize].closed => Passage::Swallowing,
            (Passage::Open(_), Wait::Bytes(direction, left)) if direction.covers(way) => Passage::Open(*left),
            (passage, _) => passage,
        }
    }

    /// For a reset, which comes after a FIN, too.
    pub(super) fn passage_of_reset(&self, way: Way) -> Passage {
        let lane = &self.lanes[way as usize];
        match self.end {
            Some(_) => Passage::Shut,
            None if lane.hole => Passage::Swallowing,
            None if lane.stalled => Passage::Shut,
            None => Passage::Open(u64::MAX),
        }
    }

    /// So many bytes have passed; no more than it allowed.
    pub(super) fn passed(&mut self, way: Way, bytes: u64) {
        let Wait::Bytes(direction, left) = &mut self.wait else { return };
        if direction.covers(way) {
            *left -= bytes;
            if *left == 0 {
                self.advance(); // here and now (1)
            }
        }
    }

    /// The wait of this turn is over.
    pub(super) fn waited(&mut self, turn: u64) {
        if self.turn == turn {
            self.advance();
        }
    }

    /// The sender has said its last, which has yet to pass.
    pub(super) fn spent(&mut self, way: Way) {
        self.lanes[way as usize].spent = true;
        self.settle();
    }

    /// The FIN of the sender may pass: the receiver is to be fin_sent.
    pub(super) fn close(&mut self, way: Way) {
        self.lanes[way as usize].closed = true;
        self.settle();
    }

    /// The receiver takes no more; to its other way that is a reset by the sender.
    pub(super) fn lost_receiver(&mut self, way: Way) {
        self.lanes[way.back() as usize].reset = true;
        self.news = true;
        self.close(way);
    }

    /// Has the sender reset without the relay's having read so? Answers it once.
    pub(super) fn take_reset(&mut self, way: Way) -> bool {
        std::mem::take(&mut self.lanes[way as usize].reset)
    }

    /// Whether the receiver is to be fin_sent that no more will come.
    pub(super) fn is_closed(&self, way: Way) -> bool {
        let lane = &self.lanes[way as usize];
        lane.closed && !lane.hole
    }

    /// Whether nobody will ever hear of anybody.
    pub(super) fn is_black_hole(&self) -> bool {
        self.lanes.iter().all(|lane| lane.hole)
    }

    pub(super) fn delay(&self, way: Way) -> Duration {
        self.lanes[way as usize].delay
    }

    pub(super) fn wait(&self) -> (u64, Wait) {
        (self.turn, self.wait.clone())
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    pub(super) fn end(&mut self, end: Close) {
        self.end.get_or_insert(end); // (3)
        self.begin(Wait::Nothing);
    }

    pub(super) fn ended(&self) -> Option<Close> {
        self.end
    }

    /// Whether something has happened since the last question that others of its task have to look at.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
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
        self.turn += 1;
        self.news = true;
    }

    /// Lifts what has lost nothing yet (2).
    fn heal(&mut self) {
        for lane in &mut self.lanes {
            lane.stalled = false;
            lane.delay = Duration::ZERO;
        }
    }

    /// It is over when nobody can say more and everybody knows. Who is in a black hole never does.
    fn settle(&mut self) {
        if self.lanes.iter().all(|lane| lane.closed && lane.spent && !lane.hole) {
            self.end(Close::Over);
        }
    }

    fn lanes_of(&mut self, direction: Direction) -> impl Iterator<Item = &mut Lane> {
        let ways = [Way::ToServer, Way::ToClient].into_iter();
        ways.zip(&mut self.lanes).filter(move |(way, _)| direction.covers(*way)).map(|(_, lane)| lane)
    }
}
