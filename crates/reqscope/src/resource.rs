use std::future::{Future, ready};
use std::sync::Arc;

use crate::{Error, Exit};

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
    /// # Errors
    ///
    /// The resource's own, through `?`. Say [`Error::permanent`] where trying again cannot help.
    fn acquire(&self) -> impl Future<Output = Result<Self::Handle, Error<Self::Cause>>> + Send;

    /// Proves that a handle is alive, and cleans it for its next user.
    ///
    /// The default answers `Ok` and is right for what cannot die and keeps no state of its user.
    ///
    /// # Errors
    ///
    /// An error costs the handle: it is released and nobody sees it again (law L14).
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
    /// Called once for every handle that was acquired (law L1). The default drops it, which is right where `Drop`
    /// does all there is to do and does not block.
    ///
    /// # Errors
    ///
    /// A failed release still ends the handle. Where the outcome matters to the client
    /// ([`settles`](Resource::settles)) the error fails the request, else it goes to the
    /// [`Observer`](crate::Observer).
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
    /// The default has none. It must not block.
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
    fn reclaim(&self, handle: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        let _exit = exit;
        Err(handle)
    }

    /// Does the outcome of a release with this `exit` matter to the client, as that of a COMMIT does?
    ///
    /// If so, the answer to the client waits for the release, and a release that fails, or a handle that is not at
    /// home when the request ends, fails the request (law L11). The default says no.
    ///
    /// Must be `true` for [`Exit::Completed`] if it is for any exit.
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
