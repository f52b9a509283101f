use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::servers::error::{Kind, ServerError};
use crate::servers::process::POLL_INTERVAL;

/// How long a statement may take. A frozen server never answers.
const STATEMENT: Duration = Duration::from_secs(5);

/// The command-line client.
pub(super) struct Client {
    program: PathBuf,
    folder: PathBuf,
    socket: PathBuf,
    /// Numbers the files for output.
    queries: AtomicUsize,
}

impl Client {
    pub(super) fn new(program: PathBuf, folder: PathBuf, socket: PathBuf) -> Client {
        Client { program, folder, socket, queries: AtomicUsize::new(0) }
    }

    pub(super) fn query(&self, sql: &str) -> Result<String, ServerError> {
        let doing = || ServerError::io(format!("run {}", self.program.display()));
        // Into files and not through pipes, which would have to be read while waiting.
        let number = self.queries.fetch_add(1, Relaxed);
        let (mut out, mut err) =
            (self.file(number, "out").map_err(doing())?, self.file(number, "err").map_err(doing())?);
        let mut client = Command::new(&self.program)
            .args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"])
            // The environment may name another server or a password.
            .args(["--host=localhost", "--protocol=socket", "--user=root"])
            .env_remove("MYSQL_PWD")
            .arg("--socket")
            .arg(&self.socket)
            .args(["--execute", sql, "test"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(doing())?)
            .stderr(err.try_clone().map_err(doing())?)
            .spawn()
            .map_err(doing())?;
        let until = Instant::now() + STATEMENT;
        let status = loop {
            match client.try_wait().map_err(doing())? {
                Some(status) => break status,
                None if Instant::now() < until => sleep(POLL_INTERVAL),
                None => {
                    end(&mut client).map_err(doing())?;
                    return Err(Kind::Late {
                        what: "a statement".to_owned(),
                        deadline: STATEMENT,
                        said: String::new(),
                    }
                    .into());
                }
            }
        };
        if status.success() {
            let mut answer = read(&mut out).map_err(doing())?;
            if answer.ends_with('\n') {
                answer.pop();
            }
            Ok(answer)
        } else {
            Err(Kind::Refused { said: read(&mut err).map_err(doing())?.trim().to_owned() }.into())
        }
    }

    /// Opens a file without a name, which is removed when it is closed.
    fn file(&self, number: usize, what: &str) -> io::Result<File> {
        let path = self.folder.join(format!("query-{number}-{what}"));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(Path::new(&path))?;
        Ok(file)
    }
}

fn end(client: &mut Child) -> io::Result<()> {
    client.kill()?;
    client.wait().map(drop)
}

fn read(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
