use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::account::Account;
use super::error::{Kind, ServerError};
use super::folder::Folder;
use super::log::last_words;
use super::process::{PACE, Process};

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
    recipe: Recipe,
    path: PathBuf,
    /// Stop, kill and restart take turns; who waits for the server holds this lock and not the other.
    turn: Mutex<()>,
    life: Mutex<Life>,
}

/// How it is started.
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) account: Option<Account>,
    /// Does it answer? Asked often, and blocks for a moment at most.
    pub(super) answers: Box<dyn Fn() -> bool + Send + Sync>,
}

struct Life {
    /// None after the end.
    folder: Option<Folder>,
    process: Option<Process>,
}

impl Server {
    pub(super) fn new(folder: Folder, recipe: Recipe) -> Server {
        let path = folder.path().to_owned();
        let life = Mutex::new(Life { folder: Some(folder), process: None });
        Server { recipe, path, turn: Mutex::new(()), life }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> Option<u32> {
        let mut life = self.life.lock();
        match life.ended() {
            Ok(None) => life.process.as_ref().map(Process::id),
            _ => None,
        }
    }

    /// Starts it, and waits until it answers.
    pub(super) fn start(&self) -> Result<(), ServerError> {
        let _turn = self.turn.lock();
        self.start_in_turn()
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(&self) -> Result<(), ServerError> {
        let _turn = self.turn.lock();
        self.stop_in_turn()
    }

    /// Kills it, and waits until it has gone.
    pub(super) fn kill(&self) -> Result<(), ServerError> {
        let _turn = self.turn.lock();
        self.kill_in_turn()
    }

    /// Stops it if it runs, and starts it again.
    pub(super) fn restart(&self) -> Result<(), ServerError> {
        let _turn = self.turn.lock();
        self.stop_in_turn()?;
        self.start_in_turn()
    }

    /// Sends a signal to it, if it runs.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let mut life = self.life.lock();
        let ended = life.ended()?;
        match &life.process {
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
            sleep(PACE);
        }
        Ok(())
    }

    fn is_frozen(&self) -> Result<bool, ServerError> {
        let mut life = self.life.lock();
        let ended = life.ended()?;
        match &life.process {
            Some(process) if ended.is_none() => process.is_stopped().map_err(ServerError::io("look at the server")),
            _ => Err(Kind::NotRunning.into()),
        }
    }

    /// Kills it and has its folder removed, whoever is waiting for what.
    pub(super) fn end(&self) {
        let mut life = self.life.lock();
        // Whatever fails here does so because it has gone, or else the guard does it.
        if let Some(process) = &life.process {
            drop(process.kill());
        }
        let until = Instant::now() + KILL;
        while life.process.is_some() && matches!(life.ended(), Ok(None)) && Instant::now() < until {
            sleep(PACE);
        }
        drop(life.folder.take());
    }

    fn start_in_turn(&self) -> Result<(), ServerError> {
        let Recipe { program, arguments, account, answers } = &self.recipe;
        let path = self.path.join("log");
        let before = {
            let mut life = self.life.lock();
            let folder = life.folder.as_ref().ok_or(Kind::Dropped)?;
            let log = File::options().create(true).append(true).open(&path);
            let log = log.map_err(ServerError::io(format!("open {}", path.display())))?;
            let before = log.metadata().map_or(0, |log| log.len());
            let process = Process::start(folder, *account, program, arguments, log);
            life.process = Some(process.map_err(ServerError::io(format!("start {}", program.display())))?);
            before
        };
        let said = || last_words(&path, before);
        let until = Instant::now() + START;
        loop {
            // It is asked first: one that has ended cannot have answered.
            let answered = answers();
            let ended = self.life.lock().ended()?;
            if let Some(status) = ended {
                return Err(Kind::Ended { program: program.display().to_string(), status, said: said() }.into());
            }
            if answered {
                return Ok(());
            }
            if Instant::now() >= until {
                self.kill_in_turn()?;
                let what = format!("the start of {}", program.display());
                return Err(Kind::Late { what, deadline: START, said: said() }.into());
            }
            sleep(PACE);
        }
    }

    fn stop_in_turn(&self) -> Result<(), ServerError> {
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
        self.kill_in_turn()?;
        let said = last_words(&self.path.join("log"), 0);
        Err(Kind::Late { what: "the server's stop".to_owned(), deadline: STOP, said }.into())
    }

    fn kill_in_turn(&self) -> Result<(), ServerError> {
        {
            let mut life = self.life.lock();
            if life.ended()?.is_none() {
                if let Some(process) = &life.process {
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
            sleep(PACE);
        }
        Ok(true)
    }
}

impl Life {
    /// How the process has ended, if it has.
    fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let folder = self.folder.as_mut().ok_or(Kind::Dropped)?;
        match &mut self.process {
            Some(process) => process.ended(folder).map_err(ServerError::io("wait for the server")),
            None => Ok(None),
        }
    }
}
