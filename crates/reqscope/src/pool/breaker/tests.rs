use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const QUICKLY: Duration = Duration::from_millis(1);
const SLOWLY: Duration = QUICK;

/// A breaker, a clock that is advanced by hand, and the number of the last failure, which identifies it.
struct World {
    breaker: Breaker<Arc<u32>>,
    now: Instant,
    failures: u32,
}

impl World {
    /// Returns a breaker that the next failure opens.
    fn new() -> Self {
        let mut world = World::healthy();
        world.breaker.failures = OPENS_AT - 1;
        world
    }

    /// Returns a breaker without any failure.
    fn healthy() -> Self {
        World { breaker: Breaker::new(), now: Instant::now(), failures: 0 }
    }

    /// Begins a creation, which the breaker must allow, probe or not.
    fn begin(&mut self) -> Attempt {
        self.breaker.ask(self.now, Duration::MAX).unwrap()
    }

    fn fail_as(&mut self, attempt: Attempt, backs_off: bool, fraction: f64) {
        self.failures += 1;
        let error = Arc::new(self.failures);
        drop(self.breaker.failed(attempt, self.now, backs_off, error, fraction));
    }

    fn fail(&mut self, attempt: Attempt) {
        self.fail_as(attempt, false, 1.0);
    }

    /// Fails a creation after `took`. Returns the pause before the next one.
    fn fail_after(&mut self, took: Duration, fraction: f64) -> Duration {
        let attempt = self.begin();
        self.now += took;
        self.fail_as(attempt, false, fraction);
        self.pause()
    }

    /// Fails a creation after `took`, and lets the longest pause pass.
    fn outlast(&mut self, took: Duration) -> Duration {
        let pause = self.fail_after(took, 1.0);
        self.now += pause;
        pause
    }

    /// Asks, and returns the cause of the refusal.
    fn refusal(&mut self) -> u32 {
        *self.breaker.ask(self.now, Duration::MAX).unwrap_err()
    }

    fn pause(&self) -> Duration {
        match self.breaker.next {
            Some(due) if !self.breaker.probing => due - self.now,
            _ => panic!("not open"),
        }
    }

    /// Fails a creation, lets the pause pass, and begins the probe.
    fn probe(&mut self) -> Attempt {
        self.outlast(QUICKLY);
        assert!(!self.breaker.is_probing());
        let probe = self.begin();
        assert!(self.breaker.is_probing());
        probe
    }
}

#[test]
fn closed_breaker_lets_every_caller_through() {
    let mut world = World::new();
    assert!((0..100).all(|_| world.breaker.ask(world.now, Duration::MAX).is_ok()));
    assert_eq!(world.breaker.last_failure(), None);
}

// The fault: one refused connect failed every caller of the next 20 ms.
#[test]
fn third_quick_failure_in_a_row_opens_it() {
    let mut world = World::healthy();
    for opens in [false, false, true] {
        let attempt = world.begin();
        world.fail(attempt);
        assert_eq!(world.breaker.is_open(), opens);
    }
}

#[test]
fn success_between_quick_failures_starts_the_count_again() {
    let mut world = World::healthy();
    for _ in 0..10 {
        let attempt = world.begin();
        world.fail(attempt);
        let attempt = world.begin();
        world.breaker.succeeded(attempt);
    }
    assert!(!world.breaker.is_open());
}

#[test]
fn slow_or_permanent_failure_opens_it_at_once() {
    let mut world = World::healthy();
    world.fail_after(SLOWLY, 1.0);
    assert!(world.breaker.is_open());
    let mut world = World::healthy();
    let attempt = world.begin();
    world.fail_as(attempt, true, 1.0);
    assert!(world.breaker.is_open());
}

#[test]
fn more_than_a_few_faults_within_a_second_open_it() {
    let mut world = World::healthy();
    let opens = |world: &mut World, after: Duration| {
        world.now += after;
        drop(world.breaker.fault(world.now, Arc::new(1), 1.0));
        world.breaker.is_open()
    };
    for _ in 0..100 {
        assert!(!opens(&mut world, Duration::from_millis(500)), "two or three a second");
    }
    world.now += 2 * WINDOW;
    let outcomes: Vec<bool> = (0..4).map(|_| opens(&mut world, QUICKLY)).collect();
    assert_eq!(outcomes, [false, false, false, true]);
    assert_eq!(world.pause(), SOON + SOON_SPREAD);
}

#[test]
fn fault_counts_to_the_end_of_its_window() {
    let mut world = World::healthy();
    for after in [Duration::ZERO, WINDOW, Duration::ZERO, Duration::ZERO] {
        assert!(!world.breaker.is_open());
        world.now += after;
        drop(world.breaker.fault(world.now, Arc::new(1), 1.0));
    }
    assert!(world.breaker.is_open());
}

#[test]
fn failure_opens_it_and_refusals_carry_the_cause() {
    let mut world = World::new();
    let pause = world.fail_after(QUICKLY, 0.5);
    let failed_at = world.now;
    world.now += pause - Duration::from_nanos(1);
    assert_eq!(world.refusal(), 1);
    assert!(!world.breaker.is_probing());
    assert_eq!(world.breaker.last_failure(), Some((&Arc::new(1), failed_at)));
}

#[test]
fn due_probe_is_the_only_one() {
    let mut world = World::new();
    let probe = world.probe();
    world.now += Duration::from_secs(3600);
    world.refusal();
    assert!(world.breaker.is_probing());
    world.fail(probe);
    world.refusal();
    assert!(!world.breaker.is_probing());
}

#[test]
fn outage_lasts_from_first_failure_to_first_success() {
    let mut world = World::new();
    for failures in 1..20 {
        world.outlast(QUICKLY);
        let probe = world.begin();
        assert_eq!(world.refusal(), failures);
        assert!(world.breaker.is_open());
        world.breaker.abandoned(probe);
    }
    let probe = world.begin();
    world.breaker.succeeded(probe);
    assert!(!world.breaker.is_open());

    world.fail_after(SLOWLY, 1.0);
    assert!(world.breaker.is_open());
}

#[test]
fn abandoned_probe_lets_the_next_caller_probe_at_once() {
    let mut world = World::new();
    let probe = world.probe();
    world.breaker.abandoned(probe);
    let probe = world.begin();
    world.refusal();
    assert!(world.breaker.is_probing());
    world.breaker.succeeded(probe);
    assert!(!world.breaker.is_open());
}

/// The task of a probe may be one that is not polled any more.
#[test]
fn overdue_probe_lets_the_next_caller_probe() {
    let mut world = World::new();
    world.outlast(QUICKLY);
    let late = world.breaker.ask(world.now, SLOWLY).unwrap();
    world.refusal();
    world.now += SLOWLY;
    let probe = world.begin();
    world.breaker.abandoned(late);
    assert!(world.breaker.is_probing(), "the second one is under way");
    world.breaker.succeeded(probe);
    assert!(!world.breaker.is_open());
}

#[test]
fn abandoned_earlier_attempt_allows_no_second_probe() {
    let mut world = World::new();
    let before = world.begin();
    let _probe = world.probe();
    world.breaker.abandoned(before);
    world.refusal();
    assert!(world.breaker.is_probing());
}

#[test]
fn abandoned_attempt_leaves_a_closed_breaker_closed() {
    let mut world = World::new();
    let (abandoned, failed) = (world.begin(), world.begin());
    world.breaker.abandoned(abandoned);
    assert!(!world.breaker.is_open());
    world.fail(failed);
    assert!(world.breaker.is_open());
}

#[test]
fn attempts_that_fail_together_count_once() {
    let mut world = World::new();
    let burst: Vec<_> = (0..10).map(|_| world.begin()).collect();
    world.now += SLOWLY;
    for attempt in burst {
        world.fail(attempt);
    }
    assert_eq!(world.pause(), FIRST);
    assert_eq!(world.refusal(), 10);
    world.now += FIRST;
    assert_eq!(world.fail_after(SLOWLY, 1.0), 2 * FIRST);
}

#[test]
fn failure_of_an_earlier_attempt_does_not_end_the_probe() {
    let mut world = World::new();
    let before = world.begin();
    let probe = world.probe();
    world.fail(before);
    world.refusal();
    assert!(world.breaker.is_probing());
    world.fail(probe);
    world.refusal();
    assert!(!world.breaker.is_probing());
}

#[test]
fn failure_begun_before_a_success_opens_nothing() {
    let mut world = World::new();
    let (late, good) = (world.begin(), world.begin());
    world.breaker.succeeded(good);
    world.fail(late);
    assert!(!world.breaker.is_open());
    // And the other way round: the order of the two outcomes is random.
    let (good, early) = (world.begin(), world.begin());
    world.fail(early);
    world.breaker.succeeded(good);
    assert!(!world.breaker.is_open());
}

#[test]
fn slow_failures_back_off_to_one_second() {
    let mut world = World::new();
    let pauses: Vec<_> = (0..40).map(|_| world.outlast(SLOWLY).as_millis()).collect();
    assert_eq!(pauses[..6], [100, 200, 400, 800, 1000, 1000]);
    assert_eq!(pauses[39], 1000);

    world.outlast(QUICKLY);
    assert_eq!(world.fail_after(SLOWLY, 1.0), FIRST);
}

#[test]
fn success_ends_the_backoff() {
    let mut world = World::new();
    world.outlast(SLOWLY);
    let probe = world.begin();
    world.breaker.succeeded(probe);
    assert_eq!(world.fail_after(SLOWLY, 1.0), FIRST);
}

#[test]
fn error_that_backs_off_does_so_even_when_quick() {
    let mut world = World::new();
    let attempt = world.begin();
    world.fail_as(attempt, true, 1.0);
    assert_eq!(world.pause(), FIRST);
}

#[test]
fn last_failure_outlives_the_outage() {
    let mut world = World::new();
    let probe = world.probe();
    let failed_at = world.now - SOON - SOON_SPREAD;
    world.breaker.succeeded(probe);
    assert_eq!(world.breaker.last_failure(), Some((&Arc::new(1), failed_at)));
}

#[test]
fn no_error_is_dropped_under_the_lock() {
    let mut world = World::new();
    let (first, second) = (world.begin(), world.begin());
    let error = Arc::new(1);
    let kept = world.breaker.failed(first, world.now, false, Arc::clone(&error), 1.0);
    assert_eq!(kept, None);
    let replaced = world.breaker.failed(second, world.now, false, Arc::new(2), 1.0).unwrap();
    assert!(Arc::ptr_eq(&replaced, &error));
}

#[derive(Clone, Debug)]
enum Step {
    Ask,
    Pass(Duration),
    Succeed(usize),
    Fail(usize, bool, f64),
    Abandon(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Ask),
        4 => (0..1500_u64).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        2 => (0..1500_u64).prop_map(|micros| Step::Pass(Duration::from_micros(micros))),
        1 => any::<usize>().prop_map(Step::Succeed),
        6 => (any::<usize>(), any::<bool>(), 0.0..=1.0).prop_map(|(which, slow, by)| Step::Fail(which, slow, by)),
        2 => any::<usize>().prop_map(Step::Abandon),
    ];
    prop::collection::vec(step, 0..100)
}

fn one_of<T>(all: &mut Vec<T>, which: usize) -> T {
    all.swap_remove(which % all.len())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quick_failures_are_probed_after_15_to_25_ms(took in 0..250_u64, fraction in 0.0..=1.0) {
        let pause = World::new().fail_after(Duration::from_millis(took), fraction);
        prop_assert!((Duration::from_millis(15)..=Duration::from_millis(25)).contains(&pause), "{pause:?}");
    }

    #[test]
    fn slow_failures_are_probed_within_their_bound(fractions in prop::collection::vec(0.0..=1.0, 1..40)) {
        let mut world = World::new();
        for (fraction, failures) in fractions.into_iter().zip(0..) {
            let pause = world.fail_after(SLOWLY, fraction);
            let bound = Duration::from_millis(100 << u32::min(failures, 4)).min(Duration::from_secs(1));
            prop_assert!(pause <= bound, "{pause:?} after {failures}");
            prop_assert!(pause.abs_diff(bound.mul_f64(fraction)) < QUICKLY);
            world.now += pause;
        }
    }

    #[test]
    fn random_steps_keep_one_probe_and_success_closes(steps in steps()) {
        let mut world = World::new();
        // The attempts under way, and whether the failure of each counts: there was no transition since it began.
        let mut under_way: Vec<(Attempt, bool)> = Vec::new();
        // While the breaker is open, the earliest time of the next probe.
        let mut due = None;
        for step in steps {
            match step {
                Step::Pass(time) => world.now += time,
                Step::Ask => match world.breaker.ask(world.now, Duration::MAX) {
                    Ok(attempt) if world.breaker.is_probing() => {
                        prop_assert!(due.is_some_and(|due| due <= world.now), "not due");
                        prop_assert!(!under_way.iter().any(|(_, counts)| *counts), "a second probe");
                        under_way.push((attempt, true));
                    }
                    Ok(attempt) => {
                        prop_assert_eq!(due, None, "it is open");
                        under_way.push((attempt, true));
                    }
                    Err(cause) => {
                        let probing = under_way.iter().any(|(_, counts)| *counts);
                        prop_assert_eq!(world.breaker.is_probing(), probing);
                        prop_assert!(probing || due.is_some_and(|due| due > world.now), "it is due");
                        prop_assert_eq!(*cause, world.failures);
                        let (last, failed_at) = world.breaker.last_failure().expect("it has a cause");
                        prop_assert!(*last == cause && failed_at <= world.now);
                    }
                },
                // The other steps end an attempt that is under way.
                _ if under_way.is_empty() => {}
                Step::Succeed(which) => {
                    let (attempt, _) = one_of(&mut under_way, which);
                    world.breaker.succeeded(attempt);
                    prop_assert!(!world.breaker.is_open());
                    due = None;
                    under_way.iter_mut().for_each(|(_, counts)| *counts = false);
                }
                Step::Fail(which, backs_off, fraction) => {
                    let (attempt, counts) = one_of(&mut under_way, which);
                    world.fail_as(attempt, backs_off, fraction);
                    if counts {
                        due = world.breaker.is_open().then(|| world.now + world.pause());
                        under_way.iter_mut().for_each(|(_, counts)| *counts = false);
                    }
                    prop_assert_eq!(!world.breaker.is_open(), due.is_none());
                }
                Step::Abandon(which) => {
                    let (attempt, _) = one_of(&mut under_way, which);
                    world.breaker.abandoned(attempt);
                }
            }
        }
    }
}
