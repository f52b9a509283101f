use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

/// What a user does with a handle: it asks the backend for the user's own number.
pub(super) trait Operate<H> {
    fn operate<'a>(&'a self, handle: &'a mut H, user: u32) -> Answer<'a>;
}

/// The number that the operation was answered, or the text of its error.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<u32, String>> + 'a>>;

/// An `AsyncFn` with any error.
pub(super) struct Operation<F, E>(F, PhantomData<fn() -> E>);

impl<F, E> Operation<F, E> {
    pub(super) fn new(operation: F) -> Self {
        Operation(operation, PhantomData)
    }
}

impl<H, F, E> Operate<H> for Operation<F, E>
where
    F: AsyncFn(&mut H, u32) -> Result<u32, E>,
    E: Display,
{
    fn operate<'a>(&'a self, handle: &'a mut H, user: u32) -> Answer<'a> {
        Box::pin(async move { (self.0)(handle, user).await.map_err(|error| error.to_string()) })
    }
}
