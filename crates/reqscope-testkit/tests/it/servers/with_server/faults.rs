use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use reqscope_testkit::{MariaDb, cancel_at, poll_once};
use tokio::runtime;

/// Long enough for an answer of a server that is not frozen.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn frozen_server_is_silent_until_it_is_thawed() {
    let server = MariaDb::start().await.unwrap();
    for _ in 0..2 {
        server.freeze().unwrap();
        server.freeze().unwrap();
        assert!(server.pid().is_some());
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(MOMENT)).unwrap();
        // Unlike `read`, `read_exact` continues when a signal interrupts it.
        let silence = stream.read_exact(&mut [0; 5]).unwrap_err();
        assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
        server.thaw().unwrap();
        stream.set_read_timeout(None).unwrap();
        assert!(stream.read(&mut [0; 5]).unwrap() > 0);
    }
    assert_eq!(server.query("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn query_to_a_frozen_server_times_out() {
    let server = MariaDb::start().await.unwrap();
    server.freeze().unwrap();
    let error = server.query("SELECT 1").await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    server.stop().await.unwrap();
    server.restart().await.unwrap();
    server.freeze().unwrap();
    server.kill().await.unwrap();
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn server_that_is_not_running_cannot_be_frozen() {
    let server = MariaDb::start().await.unwrap();
    server.kill().await.unwrap();
    for refused in [server.freeze(), server.thaw()] {
        assert_eq!(refused.unwrap_err().to_string(), "the server is not running");
    }
    server.kill().await.unwrap();
    server.stop().await.unwrap();
    let unreachable = server.query("SELECT 1").await.unwrap_err();
    assert!(!unreachable.is_timeout() && !unreachable.is_missing());
    assert!(unreachable.to_string().contains("Can't connect"), "{unreachable}");
}

/// As when the system runs out of memory: the kit has not killed it.
#[tokio::test]
async fn server_killed_from_outside_can_be_restarted() {
    let server = MariaDb::start().await.unwrap();
    let pid = server.pid().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    while server.pid().is_some() {
        thread::yield_now();
    }
    assert!(server.freeze().is_err());
    server.restart().await.unwrap();
    assert_eq!(server.query("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn query_returns_rows_and_errors() {
    let server = MariaDb::start().await.unwrap();
    assert_eq!(server.query("SELECT 'ä', NULL; SELECT 'b'").await.unwrap(), "ä\tNULL\nb");
    assert_eq!(server.query("CREATE TABLE t (id INT); SELECT * FROM t").await.unwrap(), "");
    let error = server.query("INSERT INTO t VALUES (1); SELECT * FROM nothing; INSERT INTO t VALUES (2)").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("1146") && error.contains("test.nothing"), "{error}");
    assert_eq!(server.query("SELECT * FROM t").await.unwrap(), "1");
    let long = server.query("SELECT REPEAT('x', 1000000)").await.unwrap();
    assert_eq!(long.len(), 1_000_000);
}

#[test]
fn server_is_used_from_several_runtimes() {
    let on_a_runtime = || runtime::Builder::new_current_thread().build().unwrap();
    let server = on_a_runtime().block_on(MariaDb::start()).unwrap();
    for _ in 0..2 {
        on_a_runtime().block_on(server.restart()).unwrap();
        assert_eq!(on_a_runtime().block_on(server.query("SELECT 1")).unwrap(), "1");
    }
}

#[tokio::test]
async fn cancelled_restart_still_restarts() {
    let server = MariaDb::start().await.unwrap();
    let before = server.pid();
    assert!(cancel_at(1, server.restart()).await.is_none());
    // There is no pid in between.
    while server.pid().is_none_or(|pid| Some(pid) == before) {
        thread::yield_now();
    }
    // It waits for the cancelled restart.
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn drop_does_not_wait_for_a_cancelled_restart() {
    let server = MariaDb::start().await.unwrap();
    let folder = server.folder().to_owned();
    let mut restart = Box::pin(server.restart());
    assert!(poll_once(restart.as_mut()).is_pending());
    drop(restart);
    drop(server);
    assert!(!folder.exists());
}
