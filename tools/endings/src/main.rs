//! Plays the endings and prints what was observed as JSON; `cargo xtask endings` turns it into a table.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use clap::Parser;
use parking_lot::Mutex;
use reqscope_endings::{Ending, Protocol, Stack, all, play};
use reqscope_records::endings::Row;

/// How many endings are played at once. They wait for packets and deadlines most of the time, not for a core.
const AT_ONCE: usize = 4;

#[derive(Parser)]
struct Arguments {
    /// Plays this ending only
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let Arguments { only } = Arguments::parse();
    let endings: Vec<&'static Ending> =
        all().filter(|ending| only.as_ref().is_none_or(|name| name == ending.name)).collect();
    anyhow::ensure!(!endings.is_empty(), "there is no such ending");
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, ending)) =
                    Some(next.fetch_add(1, Relaxed)).and_then(|n| Some((n, endings.get(n)?)))
                {
                    let row = row(ending);
                    rows.lock().push((number, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner();
    rows.sort_by_key(|(number, _)| *number);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

/// Plays an ending on both stacks, over both protocols.
fn row(ending: &'static Ending) -> Row {
    let on = |stack| [Protocol::Http1, Protocol::Http2].map(|protocol| play(ending, stack, protocol));
    let cells = [Stack::Hyper, Stack::Axum].into_iter().flat_map(on).collect();
    Row { name: ending.name.to_owned(), sentence: ending.sentence.to_owned(), cells }
}
