//! However a test process ends: nothing is left of its servers.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqscope_testkit::MariaDb;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use tempfile::TempDir;

use crate::servers::again::{again, role, tell, told};

/// How long the guard may take. Nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A temporary folder for a test process, in which everybody may look: its servers run as another user, maybe.
pub(super) fn place() -> TempDir {
    let place = tempfile::Builder::new().prefix("reqscope-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// Waits for the moment in which it holds.
#[track_caller]
fn soon(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        sleep(Duration::from_millis(2));
    }
}

/// Is there such a process? One that nobody has waited for is none.
fn runs(pid: i32) -> bool {
    let dead = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !dead()
}

/// The processes that have this path in their command line, where the system tells.
fn users(path: &Path) -> Vec<(Pid, String)> {
    let path = path.to_str().unwrap();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| {
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    processes.filter(|(_, line)| line.contains(path)).collect()
}

/// Nothing runs that was started in there, and no file is left.
#[track_caller]
fn is_left_clean(place: &Path) {
    soon("an empty folder", || fs::read_dir(place).unwrap().next().is_none());
    soon("no process", || users(place).is_empty());
}

/// A test process with a server, which it has told of.
struct Victim {
    process: Child,
    pid: i32,
    address: SocketAddr,
    place: TempDir,
}

impl Victim {
    fn start(test: &str, role: &str) -> Victim {
        let place = place();
        let mut process =
            again(&format!("servers::with_server::end::{test}"), role).env("TMPDIR", place.path()).spawn().unwrap();
        let (pid, address) = (told(&mut process).unwrap(), told(&mut process).unwrap());
        Victim { process, pid: pid.parse().unwrap(), address: address.parse().unwrap(), place }
    }

    /// Kills it, and sees that all has gone.
    #[track_caller]
    fn kill(mut self) {
        assert_eq!(fs::read_dir(self.place.path()).unwrap().count(), 1, "the folder of its server");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.has_gone();
    }

    #[track_caller]
    fn has_gone(self) {
        soon("no server", || !runs(self.pid));
        // Of a process that has ended the last thread may be on its way out, with all that is open.
        soon("a closed port", || TcpStream::connect(self.address).is_err());
        is_left_clean(self.place.path());
    }
}

/// The other side: starts a server and tells of it.
async fn victim() -> MariaDb {
    let server = MariaDb::start().await.unwrap();
    tell(server.pid().unwrap());
    tell(server.address());
    server
}

/// Until somebody kills this process.
fn wait() -> ! {
    loop {
        sleep(PATIENCE);
    }
}

#[tokio::test]
async fn killed() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    let victim = Victim::start("killed", "wait");
    assert!(runs(victim.pid));
    TcpStream::connect(victim.address).unwrap();
    victim.kill();
}

#[tokio::test]
async fn killed_while_its_server_is_frozen() {
    if role().is_some() {
        let server = victim().await;
        server.freeze().unwrap();
        tell("frozen");
        wait();
    }
    let mut victim = Victim::start("killed_while_its_server_is_frozen", "freeze");
    assert_eq!(told(&mut victim.process).unwrap(), "frozen");
    assert!(runs(victim.pid));
    victim.kill();
}

#[tokio::test]
async fn killed_between_two_lives_of_its_server() {
    if role().is_some() {
        let server = victim().await;
        server.stop().await.unwrap();
        tell("stopped");
        wait();
    }
    let mut victim = Victim::start("killed_between_two_lives_of_its_server", "stop");
    assert_eq!(told(&mut victim.process).unwrap(), "stopped");
    assert!(!runs(victim.pid));
    victim.kill();
}

#[tokio::test]
async fn killed_in_the_second_life_of_its_server() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        tell(server.pid().unwrap());
        tell(server.address());
        wait();
    }
    Victim::start("killed_in_the_second_life_of_its_server", "restart").kill();
}

/// What a process starts has its open files, but for those that say that they are not for others.
#[tokio::test]
async fn killed_while_what_it_has_started_lives_on() {
    if role().is_some() {
        let _server = victim().await;
        let mut heir = Command::new("sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tell(heir.id());
        heir.wait().unwrap();
    }
    let mut victim = Victim::start("killed_while_what_it_has_started_lives_on", "inherit");
    let heir = told(&mut victim.process).unwrap().parse().unwrap();
    victim.kill();
    assert!(runs(heir));
    kill_process(Pid::from_raw(heir).unwrap(), Signal::KILL).unwrap();
}

/// Control-C, a terminal that is closed, and a harness that has lost its patience.
#[tokio::test]
async fn ended_by_a_signal_to_all_that_the_terminal_runs() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    for signal in [Signal::INT, Signal::HUP, Signal::TERM, Signal::QUIT, Signal::KILL] {
        let mut victim = Victim::start("ended_by_a_signal_to_all_that_the_terminal_runs", "wait");
        kill_process_group(Pid::from_child(&victim.process), signal).unwrap();
        assert!(!victim.process.wait().unwrap().success());
        victim.has_gone();
    }
}

/// As when a machine goes down, or whoever ends tests looks for all that they have started.
#[tokio::test]
async fn ended_by_signals_to_the_guard_as_well() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    let victim = Victim::start("ended_by_signals_to_the_guard_as_well", "wait");
    let guards: Vec<_> =
        users(victim.place.path()).into_iter().filter(|(_, line)| line.contains("reqscope-guard")).collect();
    assert_eq!(guards.len(), usize::from(Path::new("/proc").exists()));
    for (guard, _) in guards {
        for signal in [Signal::INT, Signal::HUP, Signal::TERM, Signal::QUIT] {
            kill_process(guard, signal).unwrap();
        }
    }
    assert!(runs(victim.pid));
    victim.kill();
}

#[tokio::test]
async fn ended_by_itself_without_a_drop() {
    if role().is_some() {
        let _server = victim().await;
        exit(0);
    }
    let mut victim = Victim::start("ended_by_itself_without_a_drop", "exit");
    assert!(victim.process.wait().unwrap().success());
    victim.has_gone();
}

/// The guard knows a server before it is one.
#[tokio::test]
async fn killed_at_some_moment_of_a_start() {
    if role().is_some() {
        tell("starts");
        let _server = victim().await;
        wait();
    }
    let test = "servers::with_server::end::killed_at_some_moment_of_a_start";
    // The first have no template, and initialise a data folder; the last are killed about when the server answers.
    let moments = (0..20).map(|number| (false, number * 25)).chain((0..10).map(|number| (true, number * 40)));
    for (cached, moment) in moments {
        let place = place();
        let tmp = place.path().join("tmp");
        fs::create_dir(&tmp).unwrap();
        let mut command = again(test, "start");
        if !cached {
            command.env("XDG_CACHE_HOME", place.path().join("cache"));
        }
        let mut process = command.env("TMPDIR", &tmp).spawn().unwrap();
        assert_eq!(told(&mut process).unwrap(), "starts");
        sleep(Duration::from_millis(moment));
        process.kill().unwrap();
        process.wait().unwrap();
        is_left_clean(&tmp);
    }
}

#[tokio::test]
async fn a_drop_leaves_nothing_either() {
    let server = MariaDb::start().await.unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.folder().to_owned());
    assert!(folder.exists());
    drop(server);
    assert!(!runs(pid.try_into().unwrap()));
    assert!(!folder.exists());
    assert!(users(&folder).is_empty());
}

#[tokio::test]
async fn neither_does_the_drop_of_a_frozen_one() {
    let server = MariaDb::start().await.unwrap();
    server.freeze().unwrap();
    let folder = server.folder().to_owned();
    let begin = Instant::now();
    drop(server);
    assert!(!folder.exists());
    assert!(begin.elapsed() < PATIENCE);
}
