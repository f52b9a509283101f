//! Which resources share one cell of a scope.

use std::sync::Arc;
use std::time::Duration;

use reqscope::wrap::RetryPolicy;
use reqscope::{BoxResource, Error, Identity, Pool, Resource, ResourceExt, Scopes};
use reqscope_testkit::{Probe, ProbeHandle, Scripted, expect_panic};

/// A resource whose clones are one resource.
#[derive(Clone)]
struct Client(Arc<Probe>);

impl Client {
    fn new() -> Self {
        Client(Arc::new(Probe::new()))
    }
}

impl Resource for Client {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
        self.0.acquire().await
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0))
    }
}

/// Uses both resources in one scope, and returns the number of acquisitions that this took.
async fn acquisitions<R: Resource<Cause = Scripted>>(first: R, second: R) -> u64 {
    let scopes = Scopes::new();
    let scope = scopes.open();
    // No `Arc` is kept, so the scope itself keeps the first resource alive.
    drop(scope.lazy(&Arc::new(first)).get().await.unwrap());
    drop(scope.lazy(&Arc::new(second)).get().await.unwrap());
    scopes.stats().acquired
}

#[tokio::test]
async fn clones_of_one_identity_share_a_cell() {
    let client = Client::new();
    assert_eq!(acquisitions(client.clone(), client).await, 1);
    assert_eq!(acquisitions(Client::new(), Client::new()).await, 2);
}

#[tokio::test]
async fn wrappers_share_the_cell_of_what_is_inside() {
    async fn check<R: Resource<Cause = Scripted>>(name: &str, wrap: impl Fn(Client) -> R) {
        let client = Client::new();
        assert_eq!(acquisitions(wrap(client.clone()), wrap(client)).await, 1, "{name}");
    }
    check("Arc", Arc::new).await;
    check("BoxResource", |client| client.boxed()).await;
    check("Timeout", |client| client.timeout(Duration::from_secs(1))).await;
    check("Retry", |client| client.retry(RetryPolicy::new())).await;
    check("Tagged", |client| client.tagged::<u8>()).await;
    check("all of them", |client| {
        Arc::new(client.timeout(Duration::from_secs(1)).retry(RetryPolicy::new()).boxed()).tagged::<u8>()
    })
    .await;
}

#[tokio::test]
async fn arcs_around_clones_of_one_arc_share_a_cell() {
    let (probe, pool) = (Arc::new(Probe::new()), Arc::new(Pool::new(Probe::new())));
    assert_eq!(acquisitions(Arc::clone(&probe), probe).await, 1);
    assert_eq!(acquisitions(Arc::clone(&pool), pool).await, 1);
}

#[tokio::test]
async fn tags_around_one_identity_have_a_cell_each() {
    let (scopes, client) = (Scopes::new(), Client::new());
    let scope = scopes.open();
    drop(scope.lazy(&Arc::new(client.clone().tagged::<u8>())).get().await.unwrap());
    drop(scope.lazy(&Arc::new(client.clone().tagged::<u16>())).get().await.unwrap());
    drop(scope.lazy(&Arc::new(client)).get().await.unwrap());
    assert_eq!(scopes.stats().acquired, 3);
}

#[tokio::test]
async fn identity_is_found_among_many_resources() {
    let (scopes, clients) = (Scopes::new(), [(); 40].map(|()| Client::new()));
    let scope = scopes.open();
    for client in clients.iter().chain(&clients) {
        drop(scope.lazy(&Arc::new(client.clone())).get().await.unwrap());
    }
    assert_eq!(scopes.stats().acquired, 40);
}

/// Two values without a size can have one address, in a box too.
#[tokio::test]
async fn boxes_of_values_without_a_size_are_two_resources() {
    struct Unit;

    impl Resource for Unit {
        type Handle = ();
        type Cause = Scripted;

        async fn acquire(&self) -> Result<(), Error<Scripted>> {
            Ok(())
        }
    }

    assert_eq!(acquisitions(BoxResource::new(Unit), BoxResource::new(Unit)).await, 2);
    assert_eq!(acquisitions(Arc::new(Unit), Arc::new(Unit)).await, 2);
}

#[tokio::test]
async fn identity_that_panics_counts_as_none() {
    struct Panicking;

    impl Resource for Panicking {
        type Handle = ();
        type Cause = Scripted;

        async fn acquire(&self) -> Result<(), Error<Scripted>> {
            Ok(())
        }

        fn identity(&self) -> Option<Identity> {
            panic!("scripted panic")
        }
    }

    assert_eq!(expect_panic(|| Panicking.identity()), "scripted panic");
    assert_eq!(acquisitions(Panicking, Panicking).await, 2);
}
