use std::future::{Future, ready};
use std::sync::Arc;

use crate::error::Error;
use crate::exit::Exit;

/// Something that is acquired, used and given back: a connection, a transaction, a file, a lock.
///
/// Three verbs; only [`acquire`](Resource::acquire) has no default. Each has a shortcut that does not wait
/// ([`try_acquire`](Resource::try_acquire), [`probe`](Resource::probe), [`reclaim`](Resource::reclaim)), which a
/// wrapper forwards and everybody else may leave alone.
///
/// A `Resource` is the *maker* of handles and is shared by the whole server, usually in an [`Arc`]. It is not the
/// handle, and holds no state of one request.
///
/// # Cancel safety
///
/// The future of every verb may be dropped at any `.await`. Whatever is half-made then needs an owner whose `Drop`
/// cleans it up (law L3): before each `.await` ask who that is. The handle given to `release` is owned by its
/// future; the core lets that future run to its end or its deadline, wherever the request has gone.
///
/// # Panics
///
/// The core catches a panic in any of these methods. One in a verb is an error of that call
/// ([`Error::is_panicked`]); what the shortcuts stand for then is said at each of them.
///
/// # Examples
///
/// A temporary file that is kept only if the request was a success:
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
    /// What is lent to a request.
    type Handle: Send + 'static;

    /// The resource's own error.
    type Cause: std::error::Error + Send + Sync + 'static;

    /// Makes a handle.
    ///
    /// It may be called again while an earlier call still runs, by another request. The core bounds it, by 60 s unless
    /// [told otherwise](crate::scope::ScopesBuilder::acquire_timeout).
    ///
    /// # Errors
    ///
    /// The resource's own, through `?`. Say [`Error::permanent`] where trying again cannot help. An error without a
    /// [`stage`](Error::stage) gets [`Stage::Acquiring`](crate::error::Stage::Acquiring).
    ///
    /// # Cancel safety
    ///
    /// Dropped at any `.await`, it must leave nothing behind (law L3): the request may have ended meanwhile, or the
    /// timeout has passed.
    fn acquire(&self) -> impl Future<Output = Result<Self::Handle, Error<Self::Cause>>> + Send;

    /// Proves that a handle is alive, and cleans it for its next user.
    ///
    /// For whoever gives one handle to several users in turn: a pool calls it in between. A scope, a lease and a shared
    /// handle never do: theirs come fresh from `acquire` and go to `release`.
    ///
    /// The default answers `Ok` and is right for what cannot die and keeps no state of its user.
    ///
    /// # Errors
    ///
    /// An error costs the handle: it is released and nobody sees it again (law L14).
    ///
    /// # Cancel safety
    ///
    /// Dropped at any `.await`, it has proved nothing, and its question may be on its way: the pool ends that handle.
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

    /// Gives a handle back; `exit` tells how its use ended.
    ///
    /// Called once for every handle that was acquired and not [reclaimed](Resource::reclaim) (law L1). The default
    /// drops it, which is right where `Drop` does all there is to do and does not block. The core bounds it, by 5 s unless
    /// [told otherwise](crate::scope::ScopesBuilder::close_timeout).
    ///
    /// # Errors
    ///
    /// A failed release still ends the handle. Where the outcome matters to the client
    /// ([`settles`](Resource::settles)) the error fails the request, else it goes to the
    /// [`Observer`](crate::Observer).
    ///
    /// # Cancel safety
    ///
    /// It is not dropped because a request has ended, but where its deadline has passed or its runtime ends. The
    /// handle is then dropped with it, and counted as abandoned: its own `Drop` must suffice.
    fn release(
        &self,
        handle: Self::Handle,
        exit: Exit,
    ) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        let _exit = exit;
        drop(handle);
        ready(Ok(()))
    }

    /// A handle that is ready now, without waiting: the shortcut of [`acquire`](Resource::acquire).
    ///
    /// Asked before each `acquire`. The default has none. It must not block. A panic in it is an error of the
    /// acquisition.
    ///
    /// A free list, in which nothing ever waits:
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

    /// A free look at the handle's health, without any I/O: the shortcut of [`validate`](Resource::validate).
    ///
    /// The default does not know. An adapter whose operations may be cut in the middle answers
    /// [`Health::Dead`] for such a handle; a scope whose guard comes back like that is failed.
    ///
    /// Asked each time that a guard comes home, in its drop, and by each [`Shared::get`](crate::Shared::get): it must cost
    /// next to nothing and not block. A panic in it counts as `Dead`.
    fn probe(&self, handle: &Self::Handle) -> Health {
        let _handle = handle;
        Health::Unknown
    }

    /// Takes a handle back without waiting: the shortcut of [`release`](Resource::release).
    ///
    /// # Errors
    ///
    /// The handle itself, if that cannot be done without waiting; it then goes to `release`. The default always
    /// answers so.
    ///
    /// Asked before each `release`, often in a drop: it must not block. A panic in it is a failed release, and the handle
    /// goes with it.
    fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        let _exit = exit;
        Err(handle)
    }

    /// Does the outcome of a release with this `exit` matter to the client, as that of a COMMIT does?
    ///
    /// If so, the answer to the client waits for the release, and a release that fails, or a handle that is not at
    /// home when the request ends, fails the request (law L11). The default says no.
    ///
    /// It must be `true` for [`Exit::Completed`] if it is for any exit, and answer the same each time: it is asked
    /// several times in a close. A panic in it counts as yes.
    ///
    /// A transaction whose client waits for the COMMIT, and for nothing else:
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

/// What [`Resource::probe`] knows about a handle without asking anybody.
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
    /// Alive and clean, as far as can be seen.
    Ready,
    /// Only [`validate`](Resource::validate) can tell.
    Unknown,
    /// Beyond use: closed, or cut in the middle of an operation.
    Dead,
}

impl<R: Resource> Resource for Arc<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

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
