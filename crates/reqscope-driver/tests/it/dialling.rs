//! All addresses share one deadline.

use std::future::pending;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqscope_driver::{Cause, DialError, dial, dial_addresses};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn addresses(count: u8) -> Vec<SocketAddr> {
    (1..=count).map(|last| SocketAddr::from(([127, 0, 0, last], 1))).collect()
}

/// Connects to the last of three addresses, of which the first is silent and the second refuses.
#[tokio::test(start_paused = true)]
async fn silent_address_uses_up_its_share_only() {
    let began = Instant::now();
    let connected = dial_addresses(addresses(3), 9 * SECOND, async |address| match address.ip() {
        ip if ip == Ipv4Addr::new(127, 0, 0, 1) => pending().await,
        ip if ip == Ipv4Addr::new(127, 0, 0, 2) => Err("refused"),
        ip => Ok(ip),
    });
    assert_eq!(connected.await.unwrap(), Ipv4Addr::new(127, 0, 0, 3));
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn silent_addresses_take_the_whole_limit_together() {
    let began = Instant::now();
    let error = dial_addresses(addresses(3), 9 * SECOND, async |_address| pending::<Result<(), &str>>().await);
    let error = error.await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 9);
    let text = "could not connect to any of 3 addresses, the last of which was 127.0.0.3:1 within";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn last_error_is_the_cause() {
    let error = dial_addresses(addresses(2), SECOND, async |address| Err::<(), _>(address)).await.unwrap_err();
    let DialError::Connect { tried, last, cause: Cause::Failed(cause) } = error else { panic!("{error:?}") };
    assert_eq!((tried, last, cause), (2, addresses(2)[1], addresses(2)[1]));
}

#[tokio::test(start_paused = true)]
async fn name_without_an_address_is_an_error() {
    let error = dial_addresses(Vec::new(), SECOND, async |_address| Ok::<(), &str>(())).await.unwrap_err();
    assert!(matches!(error, DialError::Name(Cause::Failed(_))), "{error:?}");
}

#[tokio::test]
async fn address_in_brackets_is_one() {
    let connected = dial("[::1]", 7, 60 * SECOND, async |address| Ok::<_, &str>(address)).await.unwrap();
    assert_eq!(connected, SocketAddr::from((Ipv6Addr::LOCALHOST, 7)));
}
