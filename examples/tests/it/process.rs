//! Programs, run until they end or a deadline passes.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any program takes on a slow and busy machine. One that hangs must not hang the tests.
const DEADLINE: Duration = Duration::from_secs(120);

/// Returns the command of a built example.
///
/// `cargo test` builds the examples and puts them beside the tests; `cargo test --test it` does not.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program: PathBuf = [profile, "examples".as_ref(), name.as_ref()].iter().collect();
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{} is missing: build the examples first", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut child = command.spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// A running server, which prints its address in its first line.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// The first line.
    pub(crate) line: String,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Server {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the program. Its last lines may find no receiver any more.
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut server = Server { child, lines, line: String::new(), address: String::new() };
        server.line = server.next_line();
        let address = server.line.split("://").nth(1).unwrap_or_else(|| panic!("no address in {:?}", server.line));
        server.address = address.split([' ', '/']).next().unwrap().to_owned();
        server
    }

    /// Sends a request such as `GET /hello`, and returns the answer, head and body.
    pub(crate) fn ask(&self, request: &str, body: &str) -> String {
        ask(&self.address, request, body)
    }

    /// Waits for the next line that it prints.
    pub(crate) fn next_line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// Stops it as ctrl-c does. Returns its exit status and the lines that were not read yet.
    pub(crate) fn interrupt(self) -> (ExitStatus, String) {
        self.stop("-INT")
    }

    /// Stops it by a signal such as `-TERM`, as [`interrupt`](Server::interrupt) does.
    pub(crate) fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let status = wait(&mut self.child);
        let output = self.lines.iter().map(|line| line + "\n").collect();
        (status, output)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test leaves nothing behind. After `stop` the program has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a request to the server at `address`, as [`Server::ask`] does.
pub(crate) fn ask(address: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("the program has not ended after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
