use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::error::{Kind, ServerError};
use super::folder::Folder;
use super::log::log_tail;
use super::user::UnixUser;

/// How often is looked whether something has happened.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Tells the guard first, and is the program then, under the same id. What that says goes into its log.
const BECOME: &str = r#"echo "$$" && exec "$@" >&2"#;

/// A program that ends with us, however we end, and whoever it has started with it.
///
/// It leads a process group of its own: what the terminal sends to our group does not reach it.
pub(super) struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the program, whose files are in the folder. There is one at a time.
    pub(super) fn start(
        folder: &Folder,
        user: Option<UnixUser>,
        program: &Path,
        arguments: &[OsString],
        log: File,
    ) -> io::Result<Process> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", BECOME, "reqscope-server"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(folder.registration_pipe()?).stderr(log);
        // Messages are read here, and in no other language; what it puts aside goes with its folder; and whoever has
        // started us hears nothing of a server.
        command.env("LC_ALL", "C").env("TMPDIR", folder.path()).env_remove("NOTIFY_SOCKET");
        command.current_dir("/").process_group(0);
        if let Some(user) = user {
            user.runs(&mut command);
        }
        Ok(Process { child: command.spawn()?, status: None })
    }

    /// Runs a program that prepares something to its end.
    pub(super) fn run(
        folder: &mut Folder,
        user: Option<UnixUser>,
        program: &Path,
        arguments: &[OsString],
        deadline: Duration,
    ) -> Result<(), ServerError> {
        let name = program.display().to_string();
        let path = folder.path().join("preparation");
        let log = File::create(&path).map_err(ServerError::io(format!("open {}", path.display())))?;
        let mut process = Process::start(folder, user, program, arguments, log)
            .map_err(ServerError::io(format!("start {name}")))?;
        let until = Instant::now() + deadline;
        let mut late = false;
        loop {
            let ended = process.ended(folder).map_err(ServerError::io(format!("wait for {name}")))?;
            match ended {
                Some(_) if late => return Err(Kind::Late { what: name, deadline, said: log_tail(&path, 0) }.into()),
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(Kind::Ended { program: name, status, said: log_tail(&path, 0) }.into());
                }
                None if !late && Instant::now() >= until => {
                    process.kill().map_err(ServerError::io(format!("kill {name}")))?;
                    late = true;
                }
                None => sleep(POLL_INTERVAL),
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has. From then on its id may be somebody else's, so the guard forgets it.
    pub(super) fn ended(&mut self, folder: &mut Folder) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                folder.forget_group()?;
            }
        }
        Ok(self.status)
    }

    /// Signals the program alone, if we have not waited for it.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.pid() {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// Does it stand still? SIGSTOP is heard by one of its threads first, and the others run until that one is awake.
    pub(super) fn is_stopped(&self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        // It is not taken note of: whoever asks again hears the same.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(pid), options)?.is_some_and(|status| status.stopped()))
    }

    /// Kills it with all that it has started.
    pub(super) fn kill(&self) -> io::Result<()> {
        match self.pid() {
            Some(pid) => Ok(kill_process_group(pid, Signal::KILL)?),
            None => Ok(()),
        }
    }

    /// While nobody has waited for it, the id is its own.
    fn pid(&self) -> Option<Pid> {
        if self.status.is_some() { None } else { Some(Pid::from_child(&self.child)) }
    }
}
