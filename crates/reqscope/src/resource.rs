use std::future::{Future, ready};
use std::sync::Arc;

use crate::error::Error;
use crate::exit::Exit;
use crate::identity::Identity;

/// A resource whose handles are acquired, used and released: a connection, a transaction, a file, a lock.
///
/// The trait has three verbs: [`acquire`](Resource::acquire), which is required, [`validate`](Resource::validate) and
/// [`release`](Resource::release). Each verb has a shortcut that does not wait: [`try_acquire`](Resource::try_acquire),
/// [`probe`](Resource::probe) and [`reclaim`](Resource::reclaim). The other methods say what the resource is:
/// [`settles`](Resource::settles), [`ends_with_request`](Resource::ends_with_request), [`reset`](Resource::reset),
/// [`fault`](Resource::fault) and [`identity`](Resource::identity). A wrapper forwards all of them; any other resource
/// may keep the defaults.
///
/// A `Resource` is the *factory* of handles, not a handle. It is shared by the whole server, usually in an [`Arc`], and
/// holds no state of a single request.
///
/// # Cancel safety
///
/// The future of every verb may be dropped at any `.await`. Whatever is half-made at that point needs an owner whose
/// `Drop` cleans it up (law L3). The future of `release` owns its handle and is run to its end or its deadline, even if
/// the request has ended.
///
/// # In a drop
///
/// The drop of a scope, guard, lease or pooled handle calls `probe`, `reclaim`, `settles` and `fault` on its own
/// thread, which may hold any lock of the program. So these must not block, and must not take a lock that a thread may
/// hold while it drops such a value. The verbs never run in a drop, only in a task (law L15).
///
/// # Panics
///
/// A panic in any of these methods is caught. In a verb it becomes the error of that call ([`Error::is_panicked`]); the
/// docs of each other method say what a panic in it counts as. A panic in the `Drop` of a resource, a handle, a cause or
/// a future of one of these methods is caught too when reqscope drops the last one, so no scope, lease or pool panics
/// when it is dropped.
///
/// # Examples
///
/// A temporary file that is kept only if the request succeeds:
///
/// ```
/// use reqscope::{Error, Exit, Resource};
/// use std::{fs, io, path::PathBuf};
///
/// struct Upload(PathBuf);
///
/// impl Resource for Upload {
///     type Handle = (PathBuf, fs::File);
///     type Cause = io::Error;
///
///     async fn acquire(&self) -> Result<Self::Handle, Error<io::Error>> {
///         let path = self.0.join("upload.part");
///         Ok((path.clone(), fs::File::create(path)?))
///     }
///
///     async fn release(&self, (path, file): Self::Handle, exit: Exit) -> Result<(), Error<io::Error>> {
///         drop(file);
///         if exit.is_completed() {
///             fs::rename(&path, path.with_extension("done"))?;
///         } else {
///             fs::remove_file(&path)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Resource: Send + Sync + 'static {
    /// The value that is lent to a request.
    type Handle: Send + 'static;

    /// The resource's own error.
    type Cause: std::error::Error + Send + Sync + 'static;

    /// Creates a handle.
    ///
    /// Several requests may call this method concurrently. A call times out after 60 s, unless [configured
    /// otherwise](crate::scope::ScopesBuilder::acquire_timeout).
    ///
    /// # Errors
    ///
    /// Returns the resource's own error, converted by `?`. Use [`Error::permanent`] if a retry cannot help. An error
    /// without a [`stage`](Error::stage) gets [`Stage::Acquiring`](crate::error::Stage::Acquiring).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any `.await`, because the request has ended or the timeout has passed. It must then
    /// leave nothing behind (law L3).
    fn acquire(&self) -> impl Future<Output = Result<Self::Handle, Error<Self::Cause>>> + Send;

    /// Checks that a handle is alive, and cleans it for its next user.
    ///
    /// Called by a pool between two users of a handle. Scopes, leases and shared handles never call it: they pass each
    /// handle from `acquire` to `release` and do not use it again.
    ///
    /// The default returns `Ok`, which is right for handles that cannot break and that keep no state of their user.
    ///
    /// # Errors
    ///
    /// After an error the handle is released and never used again (law L14).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped at any `.await`, the handle is not validated and a query may still be in flight, so the
    /// pool releases the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use reqscope::{Error, Resource};
    /// # use std::{io::{self, Seek, SeekFrom}, fs::File};
    /// # struct Scratch;
    /// # impl Resource for Scratch {
    /// #     type Handle = File;
    /// #     type Cause = io::Error;
    /// #     async fn acquire(&self) -> Result<File, Error<io::Error>> { Ok(File::create_new("scratch")?) }
    /// async fn validate(&self, file: &mut File) -> Result<(), Error<io::Error>> {
    ///     file.set_len(0)?;
    ///     file.seek(SeekFrom::Start(0))?;
    ///     Ok(())
    /// }
    /// # }
    /// ```
    fn validate(&self, handle: &mut Self::Handle) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        let _handle = handle;
        ready(Ok(()))
    }

    /// Releases a handle; `exit` says how its use ended.
    ///
    /// Called once for each handle that was acquired and not [reclaimed](Resource::reclaim) (law L1). The default drops
    /// the handle, which is right if its `Drop` does all that is needed and does not block. A call times out after 5 s,
    /// unless [configured otherwise](crate::scope::ScopesBuilder::close_timeout).
    ///
    /// # Errors
    ///
    /// A failed release consumes the handle too, and is not repeated. If the outcome matters to the client
    /// ([`settles`](Resource::settles)), the error fails the request; otherwise it is reported to the
    /// [`Observer`](crate::Observer).
    ///
    /// # Cancel safety
    ///
    /// The end of a request does not drop the future; a missed deadline or the end of its runtime does. The handle is
    /// then dropped with the future and counted as abandoned, so the handle's own `Drop` must be sufficient.
    fn release(
        &self,
        handle: Self::Handle,
        exit: Exit,
    ) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        let _exit = exit;
        drop(handle);
        ready(Ok(()))
    }

    /// Returns a handle without waiting, if one is ready: the shortcut for [`acquire`](Resource::acquire).
    ///
    /// Called before each `acquire`, and must not block. The default returns `None`. A panic in it fails the
    /// acquisition.
    ///
    /// A free list, on which no caller waits:
    ///
    /// ```
    /// use reqscope::{Error, Exit, Resource};
    /// use std::{convert::Infallible, sync::Mutex};
    ///
    /// struct Buffers(Mutex<Vec<Vec<u8>>>);
    ///
    /// impl Resource for Buffers {
    ///     type Handle = Vec<u8>;
    ///     type Cause = Infallible;
    ///
    ///     async fn acquire(&self) -> Result<Vec<u8>, Error<Infallible>> {
    ///         Ok(Vec::with_capacity(4096))
    ///     }
    ///
    ///     fn try_acquire(&self) -> Option<Vec<u8>> {
    ///         self.0.lock().ok()?.pop()
    ///     }
    ///
    ///     fn reclaim(&self, mut buffer: Vec<u8>, _exit: Exit) -> Result<(), Vec<u8>> {
    ///         buffer.clear();
    ///         match self.0.lock() {
    ///             Ok(mut free) => Ok(free.push(buffer)),
    ///             Err(_) => Err(buffer),
    ///         }
    ///     }
    /// }
    /// ```
    fn try_acquire(&self) -> Option<Self::Handle> {
        None
    }

    /// Returns what is known about a handle's health without any I/O: the shortcut for
    /// [`validate`](Resource::validate).
    ///
    /// The default returns [`Health::Unknown`], which is always right: a pool then validates the handle before its next
    /// user. To save that round trip, return a variant that asserts more. A pool relies on it (law L14):
    ///
    /// | answer | asserts | validated before the next use |
    /// |---|---|---|
    /// | [`Clean`](Health::Clean) | alive, and no user has left anything, not even one that was dropped | no |
    /// | [`Ready`](Health::Ready) | alive, and a *completed* use leaves nothing | unless the use was completed |
    /// | [`Unknown`](Health::Unknown) | nothing | yes, when the handle is needed again |
    /// | [`Dirty`](Health::Dirty) | alive, but something is left that should not wait | yes, at once |
    /// | [`Dead`](Health::Dead) | broken | it is released |
    ///
    /// "Nothing" includes an operation in flight. A use is completed if its handle is released as
    /// [`Completed`](Exit::Completed) or [`Failed`](Exit::Failed), or put back with [`Pool::put`](crate::Pool::put); a
    /// handle that is only dropped has a use without a verdict. Independently of the answer, a pool validates handles
    /// that are released as [`Cancelled`](Exit::Cancelled) or [`Panicked`](Exit::Panicked), those that were idle for
    /// longer than its [`validate_after`](crate::pool::PoolBuilder::validate_after), and all with [`Reset::Always`].
    ///
    /// `Ready` is for handles that cannot see what their user has left behind, such as session settings. `Clean` is for
    /// those that see all of it, or that have no state: it is proof even for a handle that was dropped in the middle of
    /// its use. If in doubt between two variants, return the one further down.
    ///
    /// An adapter whose operations may be cut in the middle returns `Dead` for a handle with a cut operation. A scope
    /// fails if one of its guards is dropped with a dead handle. Scopes, leases and [`Shared`](crate::Shared) make no
    /// difference between the other variants.
    ///
    /// Called each time a guard or a pooled handle is dropped, and by each [`Shared::get`](crate::Shared::get), so it
    /// must be very cheap and [must not block](Resource#in-a-drop). A panic in it counts as `Dead`.
    fn probe(&self, handle: &Self::Handle) -> Health {
        let _handle = handle;
        Health::Unknown
    }

    /// Takes a handle back without waiting: the shortcut for [`release`](Resource::release).
    ///
    /// Called before each `release`, often from a `Drop`, so it [must not block](Resource#in-a-drop). A panic in it counts as a failed
    /// release and drops the handle.
    ///
    /// # Errors
    ///
    /// Returns the handle if it cannot be released without waiting; it is then passed to `release`. The default always
    /// returns the handle.
    fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        let _exit = exit;
        Err(handle)
    }

    /// Returns whether the outcome of a release with this `exit` matters to the client, as that of a COMMIT does.
    ///
    /// If so, the response waits for the release, and the request fails if the release fails or if the handle is still
    /// lent when the request ends (law L11). The default returns `false`.
    ///
    /// If it is `true` for any exit, it must be `true` for [`Exit::Completed`]. It must always return the same value
    /// for the same exit, because a close calls it several times, and [must not block](Resource#in-a-drop). A panic in
    /// it counts as `true`.
    ///
    /// A transaction whose client waits for the COMMIT and for no other release:
    ///
    /// ```
    /// # use reqscope::{Error, Exit, Resource};
    /// # use std::convert::Infallible;
    /// # struct Transaction;
    /// # impl Resource for Transaction {
    /// #     type Handle = ();
    /// #     type Cause = Infallible;
    /// #     async fn acquire(&self) -> Result<(), Error<Infallible>> { Ok(()) }
    /// fn settles(&self, exit: Exit) -> bool {
    ///     exit.is_completed()
    /// }
    /// # }
    /// ```
    fn settles(&self, exit: Exit) -> bool {
        let _exit = exit;
        false
    }

    /// Returns whether a handle must end with the request that acquired it, as a transaction must.
    ///
    /// Such a resource can be neither pooled nor shared: the release at the end of the request would not be its own, so
    /// one request would go on in the transaction of another. [`PoolBuilder::build`](crate::pool::PoolBuilder::build)
    /// and [`Shared::new`](crate::Shared::new) panic if this method returns `true`.
    ///
    /// The default returns `true` if a completed release [settles](Resource::settles). Return `true` for a handle whose
    /// release has no outcome that matters, but which is the state of one request nevertheless: a read-only
    /// transaction, or a lock.
    ///
    /// It must always return the same value. A panic in it counts as `true`.
    ///
    /// ```
    /// # use reqscope::{Error, Resource};
    /// # use std::convert::Infallible;
    /// # struct Snapshots;
    /// # impl Resource for Snapshots {
    /// #     type Handle = ();
    /// #     type Cause = Infallible;
    /// #     async fn acquire(&self) -> Result<(), Error<Infallible>> { Ok(()) }
    /// fn ends_with_request(&self) -> bool {
    ///     true // A snapshot of one request is out of date for the next one.
    /// }
    /// # }
    /// ```
    fn ends_with_request(&self) -> bool {
        self.settles(Exit::Completed)
    }

    /// Returns which returned handles a pool must validate before their next use.
    ///
    /// The default returns [`Reset::AfterDoubt`], which is right if a completed use leaves nothing behind. Return
    /// [`Reset::Always`] if uses leave state in the session that [`validate`](Resource::validate) removes. A call of
    /// [`PoolBuilder::reset`](crate::pool::PoolBuilder::reset) takes precedence.
    ///
    /// Called once, when a pool is built. A panic in it counts as `Always`.
    fn reset(&self) -> Reset {
        Reset::AfterDoubt
    }

    /// Returns why a handle cannot be used any more, if the resource knows.
    ///
    /// Called by a pool for a returned handle that is [`Dead`](Health::Dead) or has failed its validation, before its
    /// release. A pool takes an [unavailable](Error::is_unavailable) or [exhausted](Error::is_exhausted) error as a
    /// sign that its backend is down: if there are more than a few of them within a short time, callers fail at once
    /// with this cause, as after failed creations. One connection that the server has closed opens nothing. Any other
    /// error is ignored.
    ///
    /// The default returns `None`. Return an error only if the *backend* has failed: a handle that is dead because its
    /// caller was cut says nothing about it.
    ///
    /// Often called in a drop, so it [must not block](Resource#in-a-drop). A panic in it counts as `None`.
    ///
    /// A connection that keeps the error of its last read or write:
    ///
    /// ```
    /// # use reqscope::{Error, Resource};
    /// # use std::io;
    /// # struct Line { failure: Option<io::ErrorKind> }
    /// # struct Lines;
    /// # impl Resource for Lines {
    /// #     type Handle = Line;
    /// #     type Cause = io::Error;
    /// #     async fn acquire(&self) -> Result<Line, Error<io::Error>> { Ok(Line { failure: None }) }
    /// fn fault(&self, line: &Line) -> Option<Error<io::Error>> {
    ///     let failure = line.failure?; // What the last read or write has returned.
    ///     Some(Error::unavailable().with_cause(failure.into()))
    /// }
    /// # }
    /// ```
    fn fault(&self, handle: &Self::Handle) -> Option<Error<Self::Cause>> {
        let _handle = handle;
        None
    }

    /// Returns the identity of this resource, if it has one apart from the [`Arc`] that it is in.
    ///
    /// A scope has one cell for each resource. The default returns `None`: each `Arc` is a resource of its own, which
    /// is right for two databases of one type. A resource whose clones are the same resource, as those of a
    /// [`Pool`](crate::Pool) are, returns the identity of the state that they share. Then all of them have one cell in
    /// a scope, also if each is in an `Arc` of its own, and a request gets one handle.
    ///
    /// Only resources of the same type share a cell; see [`Identity`] for what else must be true.
    ///
    /// Called by each [`ScopeHandle::lazy`](crate::ScopeHandle::lazy), so it must be very cheap. A panic in it counts
    /// as `None`.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// The health of a handle, as returned by [`Resource::probe`], whose docs say what each variant asserts. From the best
/// to the worst.
///
/// ```
/// use reqscope::{Error, Health, Resource};
/// # use std::convert::Infallible;
///
/// struct Line {
///     hung_up: bool,
/// }
///
/// # struct Lines;
/// impl Resource for Lines {
/// #     type Handle = Line;
/// #     type Cause = Infallible;
///     // ...
/// #     async fn acquire(&self) -> Result<Line, Error<Infallible>> { Ok(Line { hung_up: false }) }
///     fn probe(&self, line: &Line) -> Health {
///         if line.hung_up { Health::Dead } else { Health::Unknown }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Alive, nothing in flight, and nothing left behind by any user: proof enough even after a use that was dropped in
    /// the middle. Only for resources that know this without I/O.
    Clean,
    /// Alive and clean as far as is known without I/O. A completed use leaves nothing behind; a use that was cut or
    /// dropped may have.
    Ready,
    /// Only [`validate`](Resource::validate) can tell, and the handle can wait until it is needed again.
    Unknown,
    /// Alive, but the last user left something behind that should not wait for the next one, such as an open
    /// transaction or unread rows, which may hold locks on the server.
    Dirty,
    /// Broken: the handle is closed, or one of its operations was cut in the middle.
    Dead,
}

/// Which returned handles a pool validates before their next use.
///
/// A validation checks that a handle is alive *and* clean for its next user, so it is also what resets the handle. The
/// resource says what it needs ([`Resource::reset`]); a pool's
/// [builder](crate::pool::PoolBuilder::reset) can set it explicitly.
///
/// ```
/// use reqscope::Reset;
///
/// assert_eq!(Reset::default(), Reset::AfterDoubt);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reset {
    /// Validates handles in doubt only: the use ended as `Cancelled` or `Panicked`, or the probe returns neither
    /// `Clean` nor `Ready`. Right if a completed use leaves nothing behind, as with transactions that end with their
    /// handle.
    #[default]
    AfterDoubt,
    /// Validates each handle after each use. This costs a round trip per use, for which no caller waits unless all
    /// handles are in use. Right if uses leave something behind: session settings, temporary tables, locks.
    Always,
}

impl<R: Resource> Resource for Arc<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    // For the inner resource, where it looks at the line of code of its caller.
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<Self::Handle, Error<Self::Cause>>> + Send {
        R::acquire(self)
    }

    fn validate(&self, handle: &mut Self::Handle) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        R::validate(self, handle)
    }

    fn release(
        &self,
        handle: Self::Handle,
        exit: Exit,
    ) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        R::release(self, handle, exit)
    }

    fn try_acquire(&self) -> Option<Self::Handle> {
        R::try_acquire(self)
    }

    fn probe(&self, handle: &Self::Handle) -> Health {
        R::probe(self, handle)
    }

    fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        R::reclaim(self, handle, exit)
    }

    fn settles(&self, exit: Exit) -> bool {
        R::settles(self, exit)
    }

    fn ends_with_request(&self) -> bool {
        R::ends_with_request(self)
    }

    fn reset(&self) -> Reset {
        R::reset(self)
    }

    fn fault(&self, handle: &Self::Handle) -> Option<Error<Self::Cause>> {
        R::fault(self, handle)
    }

    // Clones of an `Arc` are one resource, also if each is in another `Arc`.
    fn identity(&self) -> Option<Identity> {
        R::identity(self).or_else(|| Some(Identity::of_arc(self)))
    }
}
