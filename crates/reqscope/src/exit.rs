/// How the use of a handle ended, told to [`release`](crate::Resource::release).
///
/// An exit is told, never guessed: whoever owns the scope or the lease says `Completed` or `Failed`. Only what
/// was dropped without a word is `Cancelled`, or `Panicked` if the thread was unwinding at that moment.
///
/// A transaction commits on `Completed` and rolls back on everything else:
///
/// ```
/// use reqscope::Exit;
///
/// let verb = |exit: Exit| if exit.is_completed() { "COMMIT" } else { "ROLLBACK" };
/// assert_eq!(verb(Exit::Completed), "COMMIT");
/// assert_eq!(verb(Exit::Cancelled), "ROLLBACK");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// The work was done and its effects are wanted.
    Completed,
    /// The work ended in order, but its effects are not wanted.
    Failed,
    /// The owner was dropped without a verdict: a client that hung up, a timeout, a task that was aborted.
    Cancelled,
    /// The owner was dropped while its thread was unwinding.
    Panicked,
}

impl Exit {
    /// Whether the effects of the work are wanted.
    pub fn is_completed(self) -> bool {
        self == Exit::Completed
    }

    /// Whether the handle may have been left in the middle of something, so that it must prove itself before
    /// anybody else uses it (law L14).
    ///
    /// ```
    /// use reqscope::Exit;
    ///
    /// assert!(Exit::Cancelled.is_in_doubt()); // cut at any `.await`
    /// assert!(!Exit::Failed.is_in_doubt()); // ended in order
    /// ```
    pub fn is_in_doubt(self) -> bool {
        matches!(self, Exit::Cancelled | Exit::Panicked)
    }

    /// The worse of two verdicts. Failure is sticky: nothing turns it back into a success (law L9).
    ///
    /// ```
    /// use reqscope::Exit;
    ///
    /// assert_eq!(Exit::Completed.worst(Exit::Failed), Exit::Failed);
    /// assert_eq!(Exit::Panicked.worst(Exit::Failed), Exit::Panicked);
    /// ```
    #[must_use]
    pub fn worst(self, other: Exit) -> Exit {
        self.max(other)
    }

    /// The exit of something that is dropped right now, without a verdict.
    pub(crate) fn of_drop() -> Exit {
        if std::thread::panicking() { Exit::Panicked } else { Exit::Cancelled }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Exit::Completed => "completed",
            Exit::Failed => "failed",
            Exit::Cancelled => "cancelled",
            Exit::Panicked => "panicked",
        })
    }
}
