//! Stacks of resources that must not be built: a handle that ends with its request, in something that outlives it.

use std::any::type_name;

use crate::error::TypeName;
use crate::resource::Resource;
use crate::rt::catch;

/// Checks that handles of `resource` may be pooled.
///
/// # Panics
///
/// If they must end with their request.
#[track_caller]
pub(crate) fn assert_poolable<R: Resource>(resource: &R) {
    if ends_with_request(resource) {
        let name = TypeName(type_name::<R>());
        panic!(
            "Pool<{name}> is the wrong way round: a handle of {name} must end with its request, and a pool would lend \
             it to the next request instead. Put the pool inside: {}",
            right_stack(&name.to_string())
        );
    }
}

/// Checks that a handle of `resource` may be shared by all requests.
///
/// # Panics
///
/// If it must end with its request.
#[track_caller]
pub(crate) fn assert_shareable<R: Resource>(resource: &R) {
    if ends_with_request(resource) {
        let name = TypeName(type_name::<R>());
        panic!(
            "Shared<{name}> must not be: a handle of {name} must end with its request, and a shared handle would be \
             used by all requests. Acquire one in the scope of each request, and keep only what is inside: {}",
            right_stack(&name.to_string())
        );
    }
}

/// Returns what the resource says; a panic in it counts as `true`.
fn ends_with_request<R: Resource>(resource: &R) -> bool {
    catch::call(|| resource.ends_with_request()).unwrap_or(true)
}

/// Returns the stack with a pool around the innermost resource, if the name shows which one that is.
#[cold]
fn right_stack(name: &str) -> String {
    match name.rfind('<').zip(name.find('>')) {
        Some((open, close)) if open < close && !name.contains(',') => {
            format!("{}Pool<{}>{}", &name[..=open], &name[open + 1..close], &name[close..])
        }
        _ => "Transaction<Pool<Connections>>, not Pool<Transaction<Connections>>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_stack_puts_the_pool_around_the_innermost_resource() {
        assert_eq!(right_stack("Transaction<Sqlite>"), "Transaction<Pool<Sqlite>>");
        assert_eq!(right_stack("Timeout<Arc<Transaction<Sqlite>>>"), "Timeout<Arc<Transaction<Pool<Sqlite>>>>");
    }

    #[test]
    fn right_stack_of_a_name_that_says_too_little_is_an_example() {
        let example = right_stack("Outbox");
        assert!(example.starts_with("Transaction<Pool<"), "{example}");
        assert_eq!(right_stack("BoxResource<OpenTransaction<Sqlite>, SqliteError>"), example);
        assert_eq!(right_stack("Tagged<Transaction<Sqlite>, Audit>"), example);
    }
}
