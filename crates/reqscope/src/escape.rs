//! Text of others, as it is shown in a line of a log.

use std::fmt::{self, Write};

/// A text whose control characters are escaped: line breaks, which could forge a line of a log, the sequences of
/// terminals, and invisible characters that change the order of text. All else stays as it is.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

/// What `escape_debug` would escape, too, because it is meant for literals.
const LITERAL: [char; 3] = ['\'', '"', '\\'];

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split_inclusive(LITERAL).try_for_each(|part| match part.strip_suffix(LITERAL) {
            Some(text) => {
                write!(f, "{}", text.escape_debug())?;
                part.chars().next_back().map_or(Ok(()), |literal| f.write_char(literal))
            }
            None => write!(f, "{}", part.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_printed_is_escaped() {
        for (text, shown) in [
            ("", ""),
            (r#"near "x'y": `C:\data`"#, r#"near "x'y": `C:\data`"#),
            ("prix e\u{301}leve\u{301}", "prix e\u{301}leve\u{301}"),
            ("\"\n\"", r#""\n""#),
            ("\u{1b}[31m\t\u{202e}\u{2028}", r"\u{1b}[31m\t\u{202e}\u{2028}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }
}
