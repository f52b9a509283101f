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

/// How often a state is polled.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Registers with the guard, and then becomes the program, under the same id. Its output goes to its log.
const BECOME: &str = r#"echo "$$" && exec "$@" >&2"#;

/// A program that ends with this process, however it ends, together with the processes that it has started.
///
/// It leads a process group of its own, so signals of the terminal to our group do not reach it.
pub(super) struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts the program, whose files are in the folder. A folder has one at a time.
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
        // Its messages are parsed, so they have to be in English. Its temporary files belong in the folder. And it must
        // not report to the service manager of this process.
        command.env("LC_ALL", "C").env("TMPDIR", folder.path()).env_remove("NOTIFY_SOCKET");
        command.current_dir("/").process_group(0);
        if let Some(user) = user {
            user.runs(&mut command);
        }
        Ok(Process { child: command.spawn()?, status: None })
    }

    /// Runs a program that prepares the folder, to its end.
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

    /// Returns its exit status, if it has ended. Its id may be reused from then on, so the guard forgets it.
    pub(super) fn ended(&mut self, folder: &mut Folder) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                folder.forget_group()?;
            }
        }
        Ok(self.status)
    }

    /// Signals the program alone, unless it was waited for.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.pid() {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// Returns whether all its threads are stopped. SIGSTOP reaches one thread first, and the others run until it
    /// wakes.
    pub(super) fn is_stopped(&self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        // The status is not consumed, so another call returns the same.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(pid), options)?.is_some_and(|status| status.stopped()))
    }

    /// Kills it, with the processes that it has started.
    pub(super) fn kill(&self) -> io::Result<()> {
        match self.pid() {
            Some(pid) => Ok(kill_process_group(pid, Signal::KILL)?),
            None => Ok(()),
        }
    }

    /// Returns its id, which is not reused before it was waited for.
    fn pid(&self) -> Option<Pid> {
        if self.status.is_some() { None } else { Some(Pid::from_child(&self.child)) }
    }
}
