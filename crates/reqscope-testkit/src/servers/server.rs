use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::error::{Kind, ServerError};
use super::folder::Folder;
use super::log::log_tail;
use super::process::{POLL_INTERVAL, Process};
use super::user::UnixUser;

/// How long the start may take. It includes the recovery after a crash, on a machine that may be busy.
const START: Duration = Duration::from_secs(60);

/// How long a stop by SIGTERM may take. The server writes its pages first.
const STOP: Duration = Duration::from_secs(20);

/// How long a stop of all threads by SIGSTOP may take. A thread that writes to a disk stops afterwards.
const FREEZE: Duration = Duration::from_secs(5);

/// How long the end after SIGKILL may take, which is up to the system.
const KILL: Duration = Duration::from_secs(10);

/// One server in one folder, which may be started and stopped many times.
pub(super) struct Server {
    launch: Launch,
    path: PathBuf,
    /// Serialises start, stop, kill and restart. Held while waiting for the server, when `state` is not.
    transition: Mutex<()>,
    state: Mutex<State>,
}

/// How to start it.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) user: Option<UnixUser>,
    /// Returns whether it is ready. Called often, and may block for a moment.
    pub(super) is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

struct State {
    /// `None` after the drop.
    folder: Option<Folder>,
    process: Option<Process>,
}

impl Server {
    pub(super) fn new(folder: Folder, launch: Launch) -> Server {
        let path = folder.path().to_owned();
        let state = Mutex::new(State { folder: Some(folder), process: None });
        Server { launch, path, transition: Mutex::new(()), state }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> Option<u32> {
        let mut state = self.state.lock();
        match state.ended() {
            Ok(None) => state.process.as_ref().map(Process::id),
            _ => None,
        }
    }

    /// Starts it, and waits until it is ready.
    pub(super) fn start(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.start_locked()
    }

    /// Asks it to stop, and waits until it has stopped.
    pub(super) fn stop(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.stop_locked()
    }

    /// Kills it, and waits until it is gone.
    pub(super) fn kill(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.kill_locked()
    }

    /// Stops it if it runs, and starts it again.
    pub(super) fn restart(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.stop_locked()?;
        self.start_locked()
    }

    /// Sends a signal to it, if it runs.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let mut state = self.state.lock();
        let ended = state.ended()?;
        match &state.process {
            Some(process) if ended.is_none() => process.signal(signal).map_err(ServerError::io("signal the server")),
            _ => Err(Kind::NotRunning.into()),
        }
    }

    /// Freezes it, and waits until all its threads are stopped.
    pub(super) fn freeze(&self) -> Result<(), ServerError> {
        self.signal(Signal::STOP)?;
        let until = Instant::now() + FREEZE;
        while !self.is_frozen()? {
            if Instant::now() >= until {
                let what = "freezing the server".to_owned();
                return Err(Kind::Late { what, deadline: FREEZE, said: String::new() }.into());
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool, ServerError> {
        let mut state = self.state.lock();
        let ended = state.ended()?;
        match &state.process {
            Some(process) if ended.is_none() => process.is_stopped().map_err(ServerError::io("look at the server")),
            _ => Err(Kind::NotRunning.into()),
        }
    }

    /// Kills it and removes its folder, without waiting for a stop or start that is under way.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        // An error means that it is gone, or that the guard will kill it.
        if let Some(process) = &state.process {
            drop(process.kill());
        }
        let until = Instant::now() + KILL;
        while state.process.is_some() && matches!(state.ended(), Ok(None)) && Instant::now() < until {
            sleep(POLL_INTERVAL);
        }
        drop(state.folder.take());
    }

    fn start_locked(&self) -> Result<(), ServerError> {
        let Launch { program, arguments, user, is_ready } = &self.launch;
        let path = self.path.join("log");
        let before = {
            let mut state = self.state.lock();
            let folder = state.folder.as_ref().ok_or(Kind::Dropped)?;
            let log = File::options().create(true).append(true).open(&path);
            let log = log.map_err(ServerError::io(format!("open {}", path.display())))?;
            let before = log.metadata().map_or(0, |log| log.len());
            let process = Process::start(folder, *user, program, arguments, log);
            state.process = Some(process.map_err(ServerError::io(format!("start {}", program.display())))?);
            before
        };
        let said = || log_tail(&path, before);
        let until = Instant::now() + START;
        loop {
            // Asked first, because one that has ended was not ready.
            let answered = is_ready();
            let ended = self.state.lock().ended()?;
            if let Some(status) = ended {
                return Err(Kind::Ended { program: program.display().to_string(), status, said: said() }.into());
            }
            if answered {
                return Ok(());
            }
            if Instant::now() >= until {
                self.kill_locked()?;
                let what = format!("the start of {}", program.display());
                return Err(Kind::Late { what, deadline: START, said: said() }.into());
            }
            sleep(POLL_INTERVAL);
        }
    }

    fn stop_locked(&self) -> Result<(), ServerError> {
        match self.signal(Signal::TERM) {
            Err(error) if error.is_not_running() => return Ok(()),
            sent => sent?,
        }
        // A frozen process would not handle it.
        match self.signal(Signal::CONT) {
            Err(error) if error.is_not_running() => return Ok(()),
            sent => sent?,
        }
        if self.has_ended_within(STOP)? {
            return Ok(());
        }
        self.kill_locked()?;
        let said = log_tail(&self.path.join("log"), 0);
        Err(Kind::Late { what: "the server's stop".to_owned(), deadline: STOP, said }.into())
    }

    fn kill_locked(&self) -> Result<(), ServerError> {
        {
            let mut state = self.state.lock();
            if state.ended()?.is_none() {
                if let Some(process) = &state.process {
                    process.kill().map_err(ServerError::io("kill the server"))?;
                }
            }
        }
        if self.has_ended_within(KILL)? {
            return Ok(());
        }
        Err(Kind::Late { what: "the server's end".to_owned(), deadline: KILL, said: String::new() }.into())
    }

    fn has_ended_within(&self, deadline: Duration) -> Result<bool, ServerError> {
        let until = Instant::now() + deadline;
        while self.id().is_some() {
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(POLL_INTERVAL);
        }
        Ok(true)
    }
}

impl State {
    /// Returns the exit status of the process, if it has ended.
    fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let folder = self.folder.as_mut().ok_or(Kind::Dropped)?;
        match &mut self.process {
            Some(process) => process.ended(folder).map_err(ServerError::io("wait for the server")),
            None => Ok(None),
        }
    }
}
