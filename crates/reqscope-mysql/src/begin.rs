use mysql_async::IsolationLevel;

/// The options that a transaction begins with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BeginOptions {
    pub(crate) isolation_level: Option<IsolationLevel>,
    pub(crate) consistent_snapshot: bool,
    pub(crate) read_only: bool,
}

impl BeginOptions {
    /// Returns the statements as one text, which costs one round trip. The COMMIT releases the savepoint, which fails
    /// if this transaction is no longer the open one.
    pub(crate) fn statement(self) -> String {
        let isolation = self.isolation_level.map(|level| {
            let level = match level {
                IsolationLevel::ReadUncommitted => "READ UNCOMMITTED",
                IsolationLevel::ReadCommitted => "READ COMMITTED",
                IsolationLevel::RepeatableRead => "REPEATABLE READ",
                IsolationLevel::Serializable => "SERIALIZABLE",
            };
            format!("SET TRANSACTION ISOLATION LEVEL {level}; ")
        });
        let options = match (self.consistent_snapshot, self.read_only) {
            (false, false) => "",
            (true, false) => " WITH CONSISTENT SNAPSHOT",
            (false, true) => " READ ONLY",
            (true, true) => " WITH CONSISTENT SNAPSHOT, READ ONLY",
        };
        format!("{}START TRANSACTION{options}; SAVEPOINT reqscope", isolation.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_are_in_one_text() {
        assert_eq!(BeginOptions::default().statement(), "START TRANSACTION; SAVEPOINT reqscope");
        let start = BeginOptions {
            isolation_level: Some(IsolationLevel::Serializable),
            consistent_snapshot: true,
            read_only: true,
        };
        assert_eq!(
            start.statement(),
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; SAVEPOINT reqscope"
        );
    }
}
