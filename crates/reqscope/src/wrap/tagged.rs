use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use crate::error::Error;
use crate::exit::Exit;
use crate::resource::Resource;

/// Gives a resource another type, for two resources of one type.
///
/// Front ends find a resource by its type, for example in the state of a router. The second database of one type needs
/// a type of its own: that of the first one, with a tag. The tag is any type of the program; no value of it is ever
/// created. Tags with different names are different types, even around the same resource.
///
/// All methods are forwarded, so the wrapper changes nothing but the type, and costs nothing. Around two clones of one
/// [`Pool`](crate::Pool), two tags make two resources: a request that uses both gets two handles.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, ResourceExt, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
///
/// struct Orders;
/// struct Audit;
///
/// let connect = |name| resource_fn(move || async move { Ok::<_, Error<Infallible>>(name) });
/// let orders = Arc::new(connect("orders.db").tagged::<Orders>());
/// let audit = Arc::new(connect("audit.db").tagged::<Audit>());
///
/// let scope = Scopes::new().open();
/// assert_eq!(*scope.lazy(&orders).get().await.unwrap(), "orders.db");
/// assert_eq!(*scope.lazy(&audit).get().await.unwrap(), "audit.db");
/// scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
///
/// A mix-up of the two does not compile:
///
/// ```compile_fail,E0308
/// # use reqscope::wrap::Tagged;
/// # struct Sqlite;
/// # struct Orders;
/// # struct Audit;
/// fn archive(orders: Tagged<Sqlite, Orders>, audit: Tagged<Sqlite, Audit>) {}
///
/// let (orders, audit) = (Tagged::<_, Orders>::new(Sqlite), Tagged::<_, Audit>::new(Sqlite));
/// archive(audit, orders);
/// ```
pub struct Tagged<R, Tag> {
    inner: R,
    // A function pointer is `Send` and `Sync`, whatever the tag is.
    tag: PhantomData<fn() -> Tag>,
}

impl<R, Tag> Tagged<R, Tag> {
    /// Creates a wrapper that forwards all calls to `inner`.
    pub fn new(inner: R) -> Self {
        Tagged { inner, tag: PhantomData }
    }

    /// Returns a reference to the inner resource.
    ///
    /// ```
    /// use reqscope::wrap::Tagged;
    ///
    /// struct Audit;
    ///
    /// let tagged = Tagged::<_, Audit>::new("any resource");
    /// assert_eq!(*tagged.get_ref(), "any resource");
    /// assert!(format!("{tagged:?}").contains("Audit"));
    /// assert_eq!(tagged.into_inner(), "any resource");
    /// ```
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the inner resource.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Resource, Tag: 'static> Resource for Tagged<R, Tag> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    fn acquire(&self) -> impl Future<Output = Result<R::Handle, Error<R::Cause>>> + Send {
        self.inner.acquire()
    }

    fn validate(&self, handle: &mut R::Handle) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
        self.inner.validate(handle)
    }

    fn release(&self, handle: R::Handle, exit: Exit) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
        self.inner.release(handle, exit)
    }

    forward_other_methods!();
}

impl<R: Clone, Tag> Clone for Tagged<R, Tag> {
    fn clone(&self) -> Self {
        Tagged::new(self.inner.clone())
    }
}

impl<R: fmt::Debug, Tag> fmt::Debug for Tagged<R, Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = format_args!("{}", type_name::<Tag>());
        f.debug_struct("Tagged").field("tag", &tag).field("inner", &self.inner).finish()
    }
}
