use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use reqscope_testkit::MariaDb;

/// Long enough for a greeting on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the protocol version in the server's greeting, over TCP.
fn greeting(server: &MariaDb) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut packet = [0; 5];
    stream.read_exact(&mut packet)?;
    Ok(packet[4])
}

#[tokio::test]
async fn server_listens_on_its_port_and_its_socket() {
    let server = MariaDb::start().await.unwrap();
    assert_eq!(greeting(&server).unwrap(), 10, "the protocol version");
    assert_eq!(server.query("SELECT DATABASE(), USER(); SHOW TABLES").await.unwrap(), "test\troot@localhost");
    let paths = server.query("SELECT @@port, @@socket").await.unwrap();
    assert_eq!(paths, format!("{}\t{}", server.port(), server.socket().display()));
    assert!(server.socket().starts_with(server.folder()));
    assert_eq!(server.url(), format!("mysql://root@127.0.0.1:{}/test", server.port()));
}

#[tokio::test]
async fn option_applies_after_a_restart() {
    let server = MariaDb::builder().option("max_connections", 11).option("wait_timeout", 2).start().await.unwrap();
    for _ in 0..2 {
        let set = server.query("SELECT @@global.max_connections, @@global.wait_timeout").await.unwrap();
        assert_eq!(set, "11\t2");
        server.restart().await.unwrap();
    }
}

#[tokio::test]
async fn committed_data_survives_a_kill_and_a_stop() {
    let server = MariaDb::start().await.unwrap();
    server.query("CREATE TABLE seen (id INT PRIMARY KEY)").await.unwrap();
    let port = server.port();
    for life in 1..=2 {
        let pid = server.pid().unwrap();
        server.query(&format!("INSERT INTO seen VALUES ({life})")).await.unwrap();
        if life == 1 {
            server.kill().await.unwrap()
        } else {
            server.stop().await.unwrap()
        }
        assert_eq!(server.pid(), None);
        assert_eq!(greeting(&server).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        server.restart().await.unwrap();
        assert_ne!(server.pid(), Some(pid));
        assert_eq!(server.port(), port);
        assert_eq!(greeting(&server).unwrap(), 10);
    }
    assert_eq!(server.query("SELECT id FROM seen ORDER BY id").await.unwrap(), "1\n2");
}
