//! Nothing is left of a server, however its test process ends.

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

use crate::servers::subprocess::{next_line, report, rerun, role};

/// How long the guard may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a temporary folder that every user may read, because a server may run as another user.
pub(super) fn temp_folder() -> TempDir {
    let place = tempfile::Builder::new().prefix("reqscope-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// Waits until the condition holds.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        sleep(Duration::from_millis(2));
    }
}

/// Returns whether the process runs. A zombie does not.
fn runs(pid: i32) -> bool {
    let dead = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !dead()
}

/// Returns the processes with this path in their command line. Empty if the system has no `/proc`.
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

/// Expects that no process and no file is left.
#[track_caller]
fn expect_clean(place: &Path) {
    wait_until("an empty folder", || fs::read_dir(place).unwrap().next().is_none());
    wait_until("no process", || users(place).is_empty());
}

/// Returns whether this process ignores the signal, as its children then do: a shell starts background jobs so, and so
/// does `nohup`.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// A test process with a server.
struct Victim {
    process: Child,
    pid: i32,
    address: SocketAddr,
    place: TempDir,
}

impl Victim {
    fn start(test: &str, role: &str) -> Victim {
        let place = temp_folder();
        let mut process = rerun(&format!("servers::with_server::cleanup::{test}"), role)
            .env("TMPDIR", place.path())
            .spawn()
            .unwrap();
        let (pid, address) = (next_line(&mut process).unwrap(), next_line(&mut process).unwrap());
        Victim { process, pid: pid.parse().unwrap(), address: address.parse().unwrap(), place }
    }

    /// Kills it, and expects that nothing is left.
    #[track_caller]
    fn kill(mut self) {
        assert_eq!(fs::read_dir(self.place.path()).unwrap().count(), 1, "the folder of its server");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.expect_gone();
    }

    #[track_caller]
    fn expect_gone(self) {
        wait_until("no server", || !runs(self.pid));
        // The last thread of a process that has ended may still be exiting, with open sockets.
        wait_until("a closed port", || TcpStream::connect(self.address).is_err());
        expect_clean(self.place.path());
    }
}

/// Runs in that process: starts a server and reports it.
async fn victim() -> MariaDb {
    let server = MariaDb::start().await.unwrap();
    report(server.pid().unwrap());
    report(server.address());
    server
}

/// Waits until this process is killed.
fn wait() -> ! {
    loop {
        sleep(PATIENCE);
    }
}

#[tokio::test]
async fn killed_process_leaves_no_server() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    let victim = Victim::start("killed_process_leaves_no_server", "wait");
    assert!(runs(victim.pid));
    TcpStream::connect(victim.address).unwrap();
    victim.kill();
}

#[tokio::test]
async fn killed_process_leaves_no_frozen_server() {
    if role().is_some() {
        let server = victim().await;
        server.freeze().unwrap();
        report("frozen");
        wait();
    }
    let mut victim = Victim::start("killed_process_leaves_no_frozen_server", "freeze");
    assert_eq!(next_line(&mut victim.process).unwrap(), "frozen");
    assert!(runs(victim.pid));
    victim.kill();
}

#[tokio::test]
async fn killed_process_leaves_no_stopped_server() {
    if role().is_some() {
        let server = victim().await;
        server.stop().await.unwrap();
        report("stopped");
        wait();
    }
    let mut victim = Victim::start("killed_process_leaves_no_stopped_server", "stop");
    assert_eq!(next_line(&mut victim.process).unwrap(), "stopped");
    assert!(!runs(victim.pid));
    victim.kill();
}

#[tokio::test]
async fn killed_process_leaves_no_restarted_server() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        report(server.pid().unwrap());
        report(server.address());
        wait();
    }
    Victim::start("killed_process_leaves_no_restarted_server", "restart").kill();
}

/// A child inherits the open files of its parent, except for those marked close-on-exec.
#[tokio::test]
async fn killed_process_leaves_no_server_to_its_children() {
    if role().is_some() {
        let _server = victim().await;
        let mut heir = Command::new("sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        report(heir.id());
        heir.wait().unwrap();
    }
    let mut victim = Victim::start("killed_process_leaves_no_server_to_its_children", "inherit");
    let heir = next_line(&mut victim.process).unwrap().parse().unwrap();
    victim.kill();
    assert!(runs(heir));
    kill_process(Pid::from_raw(heir).unwrap(), Signal::KILL).unwrap();
}

/// Control-C, a closed terminal, and a test harness whose timeout has passed.
#[tokio::test]
async fn signal_from_the_terminal_leaves_no_server() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    let signals = [Signal::INT, Signal::HUP, Signal::TERM, Signal::QUIT, Signal::KILL];
    for signal in signals.into_iter().filter(|signal| !is_ignored(*signal)) {
        let mut victim = Victim::start("signal_from_the_terminal_leaves_no_server", "wait");
        kill_process_group(Pid::from_child(&victim.process), signal).unwrap();
        assert!(!victim.process.wait().unwrap().success());
        victim.expect_gone();
    }
}

/// As in a shutdown of the machine, or when a script kills everything that the tests have started.
#[tokio::test]
async fn guard_survives_signals() {
    if role().is_some() {
        let _server = victim().await;
        wait();
    }
    let victim = Victim::start("guard_survives_signals", "wait");
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
async fn exit_without_a_drop_leaves_no_server() {
    if role().is_some() {
        let _server = victim().await;
        exit(0);
    }
    let mut victim = Victim::start("exit_without_a_drop_leaves_no_server", "exit");
    assert!(victim.process.wait().unwrap().success());
    victim.expect_gone();
}

/// The guard knows a server before it starts.
#[tokio::test]
async fn process_killed_during_a_start_leaves_nothing() {
    if role().is_some() {
        report("starts");
        let _server = victim().await;
        wait();
    }
    let test = "servers::with_server::cleanup::process_killed_during_a_start_leaves_nothing";
    // The first ones initialise a data folder, without a template. The last ones are killed when the server is about
    // to be ready.
    let moments = (0..20).map(|number| (false, number * 25)).chain((0..10).map(|number| (true, number * 40)));
    for (cached, moment) in moments {
        let place = temp_folder();
        let tmp = place.path().join("tmp");
        fs::create_dir(&tmp).unwrap();
        let mut command = rerun(test, "start");
        if !cached {
            command.env("XDG_CACHE_HOME", place.path().join("cache"));
        }
        let mut process = command.env("TMPDIR", &tmp).spawn().unwrap();
        assert_eq!(next_line(&mut process).unwrap(), "starts");
        sleep(Duration::from_millis(moment));
        process.kill().unwrap();
        process.wait().unwrap();
        expect_clean(&tmp);
    }
}

#[tokio::test]
async fn drop_leaves_nothing() {
    let server = MariaDb::start().await.unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.folder().to_owned());
    assert!(folder.exists());
    drop(server);
    assert!(!runs(pid.try_into().unwrap()));
    assert!(!folder.exists());
    assert!(users(&folder).is_empty());
}

#[tokio::test]
async fn drop_of_a_frozen_server_leaves_nothing() {
    let server = MariaDb::start().await.unwrap();
    server.freeze().unwrap();
    let folder = server.folder().to_owned();
    let begin = Instant::now();
    drop(server);
    assert!(!folder.exists());
    assert!(begin.elapsed() < PATIENCE);
}
