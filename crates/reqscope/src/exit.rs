/// How the use of a handle ended, as passed to [`release`](crate::Resource::release).
///
/// `Completed` and `Failed` are stated by the owner of the scope or the lease, never guessed. A scope or lease that is
/// dropped without a verdict ends as `Cancelled`, or as `Panicked` if the thread is unwinding at that moment.
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
    /// The work ended in an orderly way, but its effects are not wanted.
    Failed,
    /// The scope or lease was dropped without a verdict: the client disconnected, a timeout passed, the task was
    /// aborted.
    Cancelled,
    /// The scope or lease was dropped while its thread was unwinding.
    Panicked,
}

impl Exit {
    /// Returns whether the effects of the work are wanted.
    pub fn is_completed(self) -> bool {
        self == Exit::Completed
    }

    /// Returns whether the handle may have been left in the middle of an operation, so that it must be validated before
    /// another user gets it (law L14).
    ///
    /// ```
    /// use reqscope::Exit;
    ///
    /// assert!(Exit::Cancelled.is_in_doubt()); // may have stopped at any `.await`
    /// assert!(!Exit::Failed.is_in_doubt()); // ended in an orderly way
    /// ```
    pub fn is_in_doubt(self) -> bool {
        matches!(self, Exit::Cancelled | Exit::Panicked)
    }

    /// Returns the worse of two exits. A failure is sticky: it cannot become a success afterwards (law L9).
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

    /// Returns the exit of a value that is being dropped right now, without a verdict.
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
