use std::ptr;
use std::sync::Arc;

/// The identity of a [`Resource`](crate::Resource): two resources of one type with the same identity share one cell of
/// a scope.
///
/// It is the address of a value that the resource keeps alive. This is what must be true for a resource that returns
/// one from [`identity`](crate::Resource::identity):
///
/// - The resource keeps the value alive and at the same address, in an [`Arc`] or a `Box`, and always returns the same
///   identity.
/// - Resources of one type that return the same identity are interchangeable. The cell uses the resource for which it
///   was created, so a setting in which they differ applies or does not, depending on which of them a request uses
///   first.
///
/// # Examples
///
/// A client whose clones share their connections:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Identity, Resource, Scopes};
/// # use std::convert::Infallible;
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone, Default)]
/// struct Numbers(Arc<Mutex<u32>>);
///
/// impl Resource for Numbers {
///     type Handle = u32;
///     type Cause = Infallible;
///
///     async fn acquire(&self) -> Result<u32, Error<Infallible>> {
///         let mut last = self.0.lock().unwrap();
///         *last += 1;
///         Ok(*last)
///     }
///
///     fn identity(&self) -> Option<Identity> {
///         Some(Identity::of(&*self.0))
///     }
/// }
///
/// let numbers = Numbers::default();
/// let scope = Scopes::new().open();
/// assert_eq!(*scope.lazy(&Arc::new(numbers.clone())).get().await.unwrap(), 1);
/// assert_eq!(*scope.lazy(&Arc::new(numbers.clone())).get().await.unwrap(), 1); // The same handle.
/// scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    address: usize,
}

impl Identity {
    /// Creates the identity of a value: its address.
    ///
    /// A value without a size does not compile, because several of them can have the same address:
    ///
    /// ```compile_fail,E0080
    /// # use reqscope::Identity;
    /// struct Marker;
    ///
    /// let identity = Identity::of(&Marker);
    /// ```
    #[inline]
    pub fn of<T>(value: &T) -> Self {
        const { assert!(size_of::<T>() > 0, "a value without a size has no identity") };
        Identity { address: ptr::from_ref(value).addr() }
    }

    /// Creates the identity of the allocation of an `Arc`, which has a size even if its value has none.
    #[inline]
    pub(crate) fn of_arc<T>(arc: &Arc<T>) -> Self {
        Identity { address: Arc::as_ptr(arc).addr() }
    }

    /// Returns the address, by which identities can be sorted.
    pub(crate) fn address(self) -> usize {
        self.address
    }
}
