use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use reqscope_testkit::{MariaDb, cancel_at, poll_once};
use tokio::runtime;

/// Long enough for an answer to come, if one comes.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_frozen_server_is_silent_and_answers_when_it_is_thawed() {
    let server = MariaDb::start().await.unwrap();
    for _ in 0..2 {
        server.freeze().unwrap();
        server.freeze().unwrap();
        assert!(server.pid().is_some());
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(MOMENT)).unwrap();
        let silence = stream.read(&mut [0; 5]).unwrap_err();
        assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
        server.thaw().unwrap();
        stream.set_read_timeout(None).unwrap();
        assert!(stream.read(&mut [0; 5]).unwrap() > 0);
    }
    assert_eq!(server.query("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_frozen_server() {
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
async fn what_does_not_run_cannot_be_frozen_and_need_not_be_stopped() {
    let server = MariaDb::start().await.unwrap();
    server.kill().await.unwrap();
    for refused in [server.freeze(), server.thaw()] {
        assert_eq!(refused.unwrap_err().to_string(), "the server does not run");
    }
    server.kill().await.unwrap();
    server.stop().await.unwrap();
    let unreachable = server.query("SELECT 1").await.unwrap_err();
    assert!(!unreachable.is_timeout() && !unreachable.is_missing());
    assert!(unreachable.to_string().contains("Can't connect"), "{unreachable}");
}

/// As when memory is short: nobody has told us.
#[tokio::test]
async fn a_server_that_others_have_killed_does_not_run_and_can_be_restarted() {
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
async fn an_eye_says_what_the_server_says() {
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
fn it_serves_several_runtimes_one_after_the_other() {
    let on_a_runtime = || runtime::Builder::new_current_thread().build().unwrap();
    let server = on_a_runtime().block_on(MariaDb::start()).unwrap();
    for _ in 0..2 {
        on_a_runtime().block_on(server.restart()).unwrap();
        assert_eq!(on_a_runtime().block_on(server.query("SELECT 1")).unwrap(), "1");
    }
}

#[tokio::test]
async fn a_restart_that_nobody_waits_for_is_a_restart_nevertheless() {
    let server = MariaDb::start().await.unwrap();
    let before = server.pid();
    assert!(cancel_at(1, server.restart()).await.is_none());
    // None in between.
    while server.pid().is_none_or(|pid| Some(pid) == before) {
        thread::yield_now();
    }
    // It takes its turn behind the one that was cut.
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn a_drop_does_not_wait_for_what_nobody_waits_for() {
    let server = MariaDb::start().await.unwrap();
    let folder = server.folder().to_owned();
    let mut restart = Box::pin(server.restart());
    assert!(poll_once(restart.as_mut()).is_pending());
    drop(restart);
    drop(server);
    assert!(!folder.exists());
}
