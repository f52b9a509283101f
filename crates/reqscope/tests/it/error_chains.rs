//! An error and its sources as one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use reqscope::Error;
use reqscope::error::{Chain, ConnectFailure, Shortage};

#[derive(Debug)]
struct Level {
    text: &'static str,
    source: Option<Box<Level>>,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl StdError for Level {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Creates an error whose levels have these texts.
fn levels(texts: &[&'static str]) -> Level {
    let (&text, sources) = texts.split_first().unwrap();
    Level { text, source: (!sources.is_empty()).then(|| Box::new(levels(sources))) }
}

#[track_caller]
fn assert_line(texts: &[&'static str], line: &str) {
    assert_eq!(Chain(&levels(texts)).to_string(), line);
}

#[test]
fn chain_shows_all_levels_in_order() {
    assert_line(&["no order"], "no order");
    assert_line(&["no order", "no row", "no table"], "no order: no row: no table");
}

#[test]
fn chain_omits_a_level_that_the_last_text_contains() {
    assert_line(&["no row: no table", "no table"], "no row: no table");
    assert_line(&["no table", "no table", "no disk"], "no table: no disk");
    assert_line(&["ERROR `no row: no table'", "no row: no table", "no table"], "ERROR `no row: no table'");
    assert_line(&["no table", "no disk", "no table"], "no table: no disk: no table");
}

#[test]
fn chain_that_leads_back_to_itself_ends() {
    #[derive(Debug)]
    struct Circle;

    impl fmt::Display for Circle {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("round")
        }
    }

    impl StdError for Circle {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self)
        }
    }

    assert_eq!(Chain(&Circle).to_string(), "round");
}

/// The message of a pool showed the last connect failure as "the driver failed", without the reason.
#[test]
fn shortage_shows_why_the_last_connect_failed() {
    let refused = levels(&["sqlite failed", "database is locked"]);
    let failure = ConnectFailure::new(&Error::failed(refused), Duration::from_millis(40));
    assert!(format!("{failure:?}").contains("sqlite failed: database is locked"), "{failure:?}");

    let mut shortage = Shortage::default();
    shortage.last_failure = Some(failure);
    let error = Error::<io::Error>::exhausted().with_shortage(shortage);
    let end = "; last connect failure 0.0 s ago: sqlite failed: database is locked";
    assert!(error.to_string().ends_with(end), "{error}");
}

/// A server, or a peer that passes for one, chooses the text of its errors. The fault: a line break in it began a line of
/// the log.
#[test]
fn chain_escapes_what_could_forge_a_line() {
    let forged = "no table\r\nERROR \u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\0";
    let escaped = r"no table\r\nERROR \u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\0";
    assert_line(&[forged], escaped);
    assert_line(&["no order", forged, "no table"], &format!("no order: {escaped}"));
    let failure = ConnectFailure::new(&Error::failed(levels(&[forged])), Duration::ZERO);
    assert!(format!("{failure:?}").contains(escaped), "{failure:?}");

    // All else stays as it is.
    let readable = r#"near "x'y": `C:\data`, prix élevé, naïve, 価格, हिन्दी"#;
    assert_line(&[readable], readable);
}
