use std::future::{Future, ready};
use std::sync::Arc;

use crate::error::Error;
use crate::exit::Exit;

/// A resource whose handles are acquired, used and released: a connection, a transaction, a file, a lock.
///
/// The trait has three verbs: [`acquire`](Resource::acquire), which is required, [`validate`](Resource::validate) and
/// [`release`](Resource::release). Each verb has a shortcut that does not wait: [`try_acquire`](Resource::try_acquire),
/// [`probe`](Resource::probe) and [`reclaim`](Resource::reclaim). Wrappers must forward the shortcuts and
/// [`settles`](Resource::settles); other resources may keep the defaults.
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
/// The drop of a scope, guard, lease or pooled handle calls the shortcuts `probe`, `reclaim` and `settles` on its own
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
    /// The default returns [`Health::Unknown`]. An adapter whose operations may be cut in the middle returns
    /// [`Health::Dead`] for a handle with a cut operation. A scope fails if one of its guards is dropped with a dead
    /// handle.
    ///
    /// Called each time a guard is dropped, and by each [`Shared::get`](crate::Shared::get), so it must be very cheap
    /// and [must not block](Resource#in-a-drop). A panic in it counts as `Dead`.
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
}

/// The health of a handle, as returned by [`Resource::probe`].
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
    /// Alive and clean, as far as is known without I/O.
    Ready,
    /// Only [`validate`](Resource::validate) can tell.
    Unknown,
    /// Broken: the handle is closed, or one of its operations was cut in the middle.
    Dead,
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
}
