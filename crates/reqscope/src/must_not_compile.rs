//! Pairs of doctests: code that must not compile, and a twin that does and differs in nothing else.
//!
//! The borrow of a guard cannot escape it:
//!
//! ```compile_fail,E0515
//! # use reqscope::{Guard, Resource};
//! fn name<R: Resource<Handle = String>>(guard: Guard<R>) -> &'static str {
//!     guard.as_str()
//! }
//! ```
//! ```
//! # use reqscope::{Guard, Resource};
//! fn name<R: Resource<Handle = String>>(guard: Guard<R>) -> String {
//!     guard.as_str().to_owned()
//! }
//! ```
//!
//! nor be used after the guard was detached or dropped:
//!
//! ```compile_fail,E0505
//! # use reqscope::{Guard, Resource};
//! fn late<R: Resource<Handle = String>>(guard: Guard<R>) {
//!     let name = guard.as_str();
//!     drop(Guard::detach(guard));
//!     println!("{name}");
//! }
//! ```
//! ```
//! # use reqscope::{Guard, Resource};
//! fn late<R: Resource<Handle = String>>(guard: Guard<R>) {
//!     let name = guard.as_str();
//!     println!("{name}");
//!     drop(Guard::detach(guard));
//! }
//! ```
//!
//! The handle cannot be moved out of a guard or a lease; a lease has a function for that:
//!
//! ```compile_fail,E0507
//! # use reqscope::{Lease, Resource};
//! fn steal<R: Resource>(lease: Lease<R>) -> R::Handle {
//!     *lease
//! }
//! ```
//! ```
//! # use reqscope::{Lease, Resource};
//! fn steal<R: Resource>(lease: Lease<R>) -> R::Handle {
//!     Lease::into_handle(lease)
//! }
//! ```
//!
//! A lease ends once, and is not used after that:
//!
//! ```compile_fail,E0382
//! # use reqscope::{Lease, Resource};
//! fn end<R: Resource<Handle = String>>(mut lease: Lease<R>) {
//!     drop(Lease::complete(lease));
//!     lease.push('!');
//! }
//! ```
//! ```
//! # use reqscope::{Lease, Resource};
//! fn end<R: Resource<Handle = String>>(mut lease: Lease<R>) {
//!     lease.push('!');
//!     drop(Lease::complete(lease));
//! }
//! ```
//!
//! A scope has one owner, but may have many handles:
//!
//! ```compile_fail,E0277
//! # use reqscope::Scope;
//! fn cloned<T: Clone>() {}
//! cloned::<Scope>();
//! ```
//! ```
//! # use reqscope::ScopeHandle;
//! fn cloned<T: Clone>() {}
//! cloned::<ScopeHandle>();
//! ```
//!
//! It is closed once, and only by its owner:
//!
//! ```compile_fail,E0599
//! # use reqscope::{Exit, Scope};
//! fn close(scope: Scope) {
//!     drop(scope.handle().close(Exit::Completed));
//! }
//! ```
//! ```
//! # use reqscope::{Exit, Scope};
//! fn close(scope: Scope) {
//!     drop(scope.close(Exit::Completed));
//! }
//! ```
//!
//! Neither a guard nor a lease has a second owner:
//!
//! ```compile_fail,E0277
//! # use reqscope::{Guard, Lazy, Lease, Resource};
//! fn cloned<T: Clone>() {}
//! fn all<R: Resource + Clone>() {
//!     cloned::<Guard<R>>();
//! }
//! ```
//! ```
//! # use reqscope::{Guard, Lazy, Lease, Resource};
//! fn cloned<T: Clone>() {}
//! fn all<R: Resource + Clone>() {
//!     cloned::<Lazy<R>>();
//! }
//! ```
//!
//! A handle must be `Send`, because its release may run on another thread:
//!
//! ```compile_fail,E0277
//! # use reqscope::{Error, Resource};
//! # use std::{convert::Infallible, rc::Rc, sync::Arc};
//! struct Names;
//! impl Resource for Names {
//!     type Handle = Rc<str>;
//!     type Cause = Infallible;
//!     async fn acquire(&self) -> Result<Self::Handle, Error<Infallible>> {
//!         Ok("a".into())
//!     }
//! }
//! ```
//! ```
//! # use reqscope::{Error, Resource};
//! # use std::{convert::Infallible, rc::Rc, sync::Arc};
//! struct Names;
//! impl Resource for Names {
//!     type Handle = Arc<str>;
//!     type Cause = Infallible;
//!     async fn acquire(&self) -> Result<Self::Handle, Error<Infallible>> {
//!         Ok("a".into())
//!     }
//! }
//! ```
//!
//! The future of a close is not discarded by accident:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # use reqscope::{Exit, Scope};
//! fn end(scope: Scope) {
//!     scope.close(Exit::Completed);
//! }
//! ```
//! ```
//! #![deny(unused_must_use)]
//! # use reqscope::{Exit, Scope};
//! fn end(scope: Scope) {
//!     drop(scope.close(Exit::Completed));
//! }
//! ```
