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
    fn settles(&self, exit: Exit) -> bool {
        let _exit = exit;
        false
    }
}

/// What [`Resource::probe`] knows about a handle without asking anybody.
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
