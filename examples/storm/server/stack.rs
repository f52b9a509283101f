//! The stacks between the connections and the handlers.
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stack {
    /// A service on plain hyper
    #[default]
    Hyper,
    /// A router of axum, with a layer and extractors; needs a storm built with `--features axum`
    Axum,
}

impl Stack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stack::Hyper => "hyper",
            Stack::Axum => "axum",
        }
    }
}
