//! Adapters, which ignore the probe: what they leave behind is seen by a use of their handles and a census of their
//! server. Each fault is caught as one breach; without a fault they pass.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Pool, Reset, Resource};
use reqscope_testkit::{Law, Laws, Report, laws};
use tokio::task::yield_now;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Does not notice that an operation was cut: the next one reads the answer of that one.
    ReadsThePreviousAnswer,
    /// Loses the connection if its acquire is cut.
    LeaksWhenCut,
    /// Keeps the connection if its acquire is cut, as long as the resource lives.
    HoardsWhenCut,
    /// Fails while another handle is out.
    Refuses,
    /// Answers with another number.
    AnswersWrong,
    /// Keeps the number of its first user as session state, which only `validate` removes.
    KeepsState,
    /// The same, and asks pools to validate each handle.
    KeepsStateAndSaysSo,
    HangsIn(Hang),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hang {
    Acquire,
    Use,
    Validate,
    Release,
}

/// A server in memory, which knows how many connections are open.
#[derive(Clone, Default)]
struct Server(Arc<AtomicUsize>);

struct Adapter {
    server: Server,
    fault: Fault,
    hoard: Arc<Mutex<Vec<Socket>>>,
    out: Arc<AtomicUsize>,
}

/// A connection as the server sees it. Its drop closes it.
struct Socket {
    server: Server,
    answers: VecDeque<u32>,
}

impl Socket {
    fn open(server: &Server) -> Self {
        server.0.fetch_add(1, SeqCst);
        Socket { server: server.clone(), answers: VecDeque::new() }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.0.fetch_sub(1, SeqCst);
    }
}

struct Conn {
    socket: Socket,
    fault: Fault,
    in_flight: bool,
    /// The state of its session.
    state: Option<u32>,
    out: Arc<AtomicUsize>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.out.fetch_sub(1, SeqCst);
    }
}

impl Conn {
    /// Asks the server for a number.
    async fn ask(&mut self, number: u32) -> Result<u32, &'static str> {
        if self.in_flight && self.fault != Fault::ReadsThePreviousAnswer {
            return Err("an operation was cut");
        }
        self.in_flight = true;
        let number = if self.fault == Fault::AnswersWrong { number + 1 } else { number };
        self.socket.answers.push_back(number);
        yield_now().await;
        hang_if(self.fault, Hang::Use).await;
        let answer = self.socket.answers.pop_front().ok_or("no answer")?;
        self.in_flight = false;
        match self.fault {
            Fault::KeepsState | Fault::KeepsStateAndSaysSo => Ok(*self.state.get_or_insert(answer)),
            _ => Ok(answer),
        }
    }
}

async fn hang_if(fault: Fault, hang: Hang) {
    if fault == Fault::HangsIn(hang) {
        pending::<()>().await;
    }
}

/// What an acquire that is cut does with its socket.
struct Dialling {
    socket: Option<Socket>,
    fault: Fault,
    hoard: Arc<Mutex<Vec<Socket>>>,
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        match self.fault {
            Fault::LeaksWhenCut => std::mem::forget(socket),
            Fault::HoardsWhenCut => self.hoard.lock().push(socket),
            _ => {}
        }
    }
}

impl Resource for Adapter {
    type Handle = Conn;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Conn, Error<Infallible>> {
        let socket = Some(Socket::open(&self.server));
        let mut dialling = Dialling { socket, fault: self.fault, hoard: Arc::clone(&self.hoard) };
        yield_now().await;
        hang_if(self.fault, Hang::Acquire).await;
        if self.out.load(SeqCst) > 0 && self.fault == Fault::Refuses {
            return Err(Error::exhausted());
        }
        let socket = dialling.socket.take().expect("it was put there");
        self.out.fetch_add(1, SeqCst);
        Ok(Conn { socket, fault: self.fault, in_flight: false, state: None, out: Arc::clone(&self.out) })
    }

    async fn validate(&self, conn: &mut Conn) -> Result<(), Error<Infallible>> {
        yield_now().await;
        hang_if(self.fault, Hang::Validate).await;
        if conn.in_flight && self.fault != Fault::ReadsThePreviousAnswer {
            return Err(Error::unavailable());
        }
        conn.state = None;
        Ok(())
    }

    async fn release(&self, conn: Conn, _exit: Exit) -> Result<(), Error<Infallible>> {
        let _closed_at_the_end = conn;
        yield_now().await;
        hang_if(self.fault, Hang::Release).await;
        Ok(())
    }

    fn reset(&self) -> Reset {
        if self.fault == Fault::KeepsStateAndSaysSo { Reset::Always } else { Reset::AfterDoubt }
    }

    fn probe(&self, conn: &Conn) -> Health {
        if conn.in_flight && self.fault != Fault::ReadsThePreviousAnswer { Health::Dead } else { Health::Ready }
    }
}

impl Server {
    fn adapter(&self, fault: Fault) -> Adapter {
        Adapter { server: self.clone(), fault, hoard: Arc::default(), out: Arc::default() }
    }

    /// Returns the suite with all it can be given.
    fn laws(&self, fault: Fault) -> Laws<'_, Adapter> {
        laws(move |_probe| self.adapter(fault))
            .with_use(async |conn, user| conn.ask(user).await)
            .with_census(async || self.0.load(SeqCst))
    }

    /// Returns the suite for a pool of connections.
    fn pool_laws(&self, fault: Fault) -> Laws<'_, Pool<Adapter>> {
        laws(move |_probe| Pool::new(self.adapter(fault)))
            .with_use(async |conn, user| conn.ask(user).await)
            .with_census(async || self.0.load(SeqCst))
    }
}

/// Expects that all breaches have one cause, and returns the report.
async fn one_breach(fault: Fault, law: Law) -> Report {
    let report = Server::default().laws(fault).judge().await;
    println!("{report}"); // shown if the test fails
    assert_eq!(report.breaches().iter().map(|breach| breach.law).collect::<Vec<_>>(), [law]);
    report
}

#[tokio::test(start_paused = true)]
async fn right_adapter_passes() {
    let server = Server::default();
    server.laws(Fault::None).await;
    server.pool_laws(Fault::None).await;
    assert_eq!(server.0.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn pool_that_serves_a_previous_answer_breaks_l14() {
    let report = Server::default().pool_laws(Fault::ReadsThePreviousAnswer).judge().await;
    let breach = &report.breaches()[0];
    assert_eq!((breach.law, report.breaches().len()), (Law::L14, 1), "{report}");
    assert!(breach.seen.contains("was answered with"), "{report}");
}

/// `Ready` says that a completed use leaves nothing.
#[tokio::test(start_paused = true)]
async fn ready_handle_with_state_of_its_last_user_breaks_l14() {
    let report = one_breach(Fault::KeepsState, Law::L14).await;
    assert!(report.to_string().contains("return `Reset::Always` from `reset`"), "{report}");

    let server = Server::default();
    server.laws(Fault::KeepsStateAndSaysSo).await;
    server.pool_laws(Fault::KeepsStateAndSaysSo).await;
}

#[tokio::test(start_paused = true)]
async fn handle_that_serves_a_previous_answer_breaks_l14() {
    let report = one_breach(Fault::ReadsThePreviousAnswer, Law::L14).await;
    assert!(report.breaches()[0].case.contains("proved by validate"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn connection_leaked_by_a_cut_acquire_breaks_l3() {
    let report = one_breach(Fault::LeaksWhenCut, Law::L3).await;
    assert!(report.breaches()[0].seen.contains("open handles"), "{report}");
    assert!(report.breaches()[0].also.len() > 2, "the other cases that leak are listed: {report}");
}

/// After the resource is dropped nothing is left: only a census while it lives sees this.
#[tokio::test(start_paused = true)]
async fn connection_kept_by_a_cut_acquire_breaks_l3() {
    let report = one_breach(Fault::HoardsWhenCut, Law::L3).await;
    assert!(report.breaches()[0].case.starts_with("12 acquires"), "{report}");
}

/// The same two resources pass without a use and a census, and the report says how little was seen.
#[tokio::test(start_paused = true)]
async fn report_says_how_many_cases_could_see_inside() {
    let blind = laws(|_probe| Server::default().adapter(Fault::LeaksWhenCut)).judge().await;
    assert!(blind.is_clean(), "{blind}");
    assert_eq!(blind.seeing_cases(), 0);
    assert!(blind.to_string().contains("call `with_use` and `with_census`"), "{blind}");

    let report = Server::default().laws(Fault::None).judge().await;
    assert!(report.seeing_cases() > 30 && report.seeing_cases() < report.cases(), "{report}");
    let sight = format!("{} of {} cases could see inside", report.seeing_cases(), report.cases());
    assert!(report.to_string().contains(&sight), "{report}");
}

#[tokio::test(start_paused = true)]
async fn refused_second_acquire_is_one_breach_with_advice() {
    let report = one_breach(Fault::Refuses, Law::L4).await;
    let advice = report.breaches()[0].advice.unwrap();
    assert!(advice.starts_with("a second acquire must succeed while the first handle is out"), "{advice}");
}

/// A wrong operation is a fault of the test, and would show itself in every case that uses handles.
#[tokio::test(start_paused = true)]
async fn operation_with_a_wrong_answer_is_one_breach_with_advice() {
    let report = one_breach(Fault::AnswersWrong, Law::L14).await;
    assert!(report.breaches()[0].advice.unwrap().contains("`with_use`"), "{report}");
}

/// Each case would wait for its full time, and some without any bound of their own.
#[tokio::test(start_paused = true)]
async fn call_that_hangs_ends_the_run() {
    for hang in [Hang::Acquire, Hang::Use, Hang::Validate, Hang::Release] {
        let began = tokio::time::Instant::now();
        let report = Server::default().laws(Fault::HangsIn(hang)).judge().await;
        assert!(began.elapsed().as_secs() < 30, "{hang:?}: {:?}", began.elapsed());
        assert_eq!(report.breaches().len(), 1, "{hang:?}: {report}");
        let call = format!("{hang:?}").to_lowercase();
        assert!(report.breaches()[0].seen.contains(&format!("{call} did not end within")), "{report}");
        assert!(report.to_string().contains("the run ended there"), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn known_breach_passes_while_it_occurs() {
    let server = Server::default();
    let known = |fault| server.laws(fault).known(Law::L3, "open handles", "the driver forgets its socket");
    let report = known(Fault::LeaksWhenCut).judge().await;
    assert!(report.is_clean(), "{report}");
    assert!(report.to_string().contains("known: L3: open handles: the driver forgets its socket"), "{report}");

    let mended = known(Fault::None).judge().await;
    assert!(!mended.is_clean());
    assert!(mended.to_string().contains("did not occur: remove it from the list"), "{mended}");
}
