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

/// From the start to the first answer. A crash is recovered from in there, on a machine that may be busy.
const START: Duration = Duration::from_secs(60);

/// From SIGTERM to the end. What is asked to stop writes its pages first.
const STOP: Duration = Duration::from_secs(20);

/// From SIGSTOP to the standstill. A thread that is in the midst of writing to a disk stops after it.
const FREEZE: Duration = Duration::from_secs(5);

/// From SIGKILL to the end: the system's work alone.
const KILL: Duration = Duration::from_secs(10);

/// One server through its lives, in one folder.
pub(super) struct Server {
    launch: Launch,
    path: PathBuf,
    /// Stop, kill and restart take turns; who waits for the server holds this lock and not the other.
    transition: Mutex<()>,
    state: Mutex<State>,
}

/// How it is started.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) user: Option<UnixUser>,
    /// Does it answer? Asked often, and blocks for a moment at most.
    pub(super) is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

struct State {
    /// None after the end.
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

    /// Starts it, and waits until it answers.
    pub(super) fn start(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.start_locked()
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(&self) -> Result<(), ServerError> {
        let _transition = self.transition.lock();
        self.stop_locked()
    }

    /// Kills it, and waits until it has gone.
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

    /// Stops all its threads, and returns when they stand still.
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

    /// Kills it and has its folder removed, whoever is waiting for what.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        // Whatever fails here does so because it has gone, or else the guard does it.
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
            // It is asked first: one that has ended cannot have answered.
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
        // A frozen one would not hear of it.
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
    /// How the process has ended, if it has.
    fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let folder = self.folder.as_mut().ok_or(Kind::Dropped)?;
        match &mut self.process {
            Some(process) => process.ended(folder).map_err(ServerError::io("wait for the server")),
            None => Ok(None),
        }
    }
}
