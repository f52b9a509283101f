use std::fmt;

/// Shows the name of a type without the paths in it: `Timeout<MySql>` instead of
/// `reqscope::wrap::timeout::Timeout<reqscope_mysql::MySql>`.
pub(crate) struct TypeName<'a>(pub(crate) &'a str);

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let mut rest = self.0;
        while !rest.is_empty() {
            let (path, tail) = rest.split_at(rest.find(|c| !is_path(c)).unwrap_or(rest.len()));
            f.write_str(path.rsplit("::").next().unwrap_or(path))?;
            let (between, tail) = tail.split_at(tail.find(is_path).unwrap_or(tail.len()));
            f.write_str(between)?;
            rest = tail;
        }
        Ok(())
    }
}
