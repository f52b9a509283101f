//! The rows of an honesty table, with one script each.

use reqscope_records::compare::RowInfo;

/// Defines the rows: the name of each, the module whose `run` plays it on a `$contender`, and its title.
macro_rules! rows {
    ($contender:path: $($variant:ident = $module:ident: $title:literal)+) => {
        $(mod $module;)+

        /// A row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Row {
            $($variant,)+
        }

        impl Row {
            const ALL: &[Row] = &[$(Row::$variant,)+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Row::$variant => stringify!($module),)+
                }
            }

            pub(crate) fn title(self) -> &'static str {
                match self {
                    $(Row::$variant => $title,)+
                }
            }

            pub(crate) async fn run<C: $contender>(self) -> Result<(), $crate::faults::steps::Unmet> {
                match self {
                    $(Row::$variant => $module::run::<C>().await,)+
                }
            }

            /// Prints all rows.
            pub(crate) fn print() -> anyhow::Result<()> {
                $crate::rows::print(Row::ALL.iter().map(|row| (row.name(), row.title())))
            }
        }

        impl clap::ValueEnum for Row {
            fn value_variants<'a>() -> &'a [Row] {
                Row::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.name()).help(self.title()))
            }
        }
    };
}
pub(crate) use rows;

/// Prints names and titles, as JSON.
pub(crate) fn print(rows: impl Iterator<Item = (&'static str, &'static str)>) -> anyhow::Result<()> {
    let info = |(name, title): (&str, &str)| RowInfo { name: name.to_owned(), title: title.to_owned() };
    let rows: Vec<RowInfo> = rows.map(info).collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
