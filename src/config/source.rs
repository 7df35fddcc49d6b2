//! The texts that a configuration is read from, and places in them.

use std::{ops::Range, path::PathBuf};

/// A place: a file by its number, and a range of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl At {
    pub(crate) fn new(file: u32, span: Range<usize>) -> At {
        // Files are capped far below 4 GiB when they are read.
        At {
            file,
            start: span.start as u32,
            end: span.end as u32,
        }
    }

    pub(crate) fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One text, and the name it is printed with.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Where its lines begin.
    lines: Vec<u32>,
}

impl File {
    /// The line and column, both from 1, of a byte.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self
            .lines
            .partition_point(|start| *start as usize <= offset);
        let start = self.lines[line - 1] as usize;
        let column = self
            .text
            .get(start..offset)
            .map_or(0, |text| text.chars().count());
        (line, column + 1)
    }
}

/// All texts, in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Files {
    files: Vec<File>,
}

impl Files {
    pub(crate) fn add(&mut self, path: PathBuf, text: String) -> u32 {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at as u32 + 1);
        let lines = std::iter::once(0).chain(newlines).collect();
        self.files.push(File { path, text, lines });
        self.files.len() as u32 - 1
    }

    pub(crate) fn get(&self, file: u32) -> &File {
        &self.files[file as usize]
    }

    pub(crate) fn slice(&self, at: At) -> &str {
        self.get(at.file).text.get(at.span()).unwrap_or_default()
    }

    /// The place of `span` of a string's value, where the string is written as one plain literal at `at`.
    pub(crate) fn within(&self, at: At, span: Range<usize>) -> At {
        let Some(inner) = (self.slice(at).strip_prefix('"')).and_then(|raw| raw.strip_suffix('"'))
        else {
            return at;
        };
        let first = at.start as usize + 1;
        let start = first + raw_offset(inner, span.start);
        let end = first + raw_offset(inner, span.end.max(span.start));
        // Nothing to underline, as at the end of a text that breaks off: the closing quote shows where.
        At::new(at.file, start..if end == start { end + 1 } else { end })
    }
}

/// Where byte `offset` of a string's value stands in the literal that it was written as.
fn raw_offset(raw: &str, offset: usize) -> usize {
    let (mut decoded, mut at) = (0, 0);
    while decoded < offset && at < raw.len() {
        let rest = &raw[at..];
        let (written, read) = match rest.as_bytes() {
            [b'\\', kind @ (b'u' | b'U'), ..] => {
                let len = if *kind == b'u' { 6 } else { 10 };
                let char = (rest.get(2..len))
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                    .and_then(char::from_u32);
                (len, char.map_or(1, char::len_utf8))
            }
            [b'\\', _, ..] => (2, 1),
            [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => (3, 2),
            _ => {
                let len = rest.chars().next().map_or(1, char::len_utf8);
                (len, len)
            }
        };
        at += written;
        decoded += read;
    }
    at.min(raw.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_value_is_found_in_its_literal() {
        for (raw, offset, expected) in [
            ("abc", 2, 2),
            (r#"a\"bc"#, 2, 3),
            (r"\u00e9x", 2, 6),
            (r"\U0001F600x", 4, 10),
            ("$${x}y", 2, 3),
            ("éx", 2, 2),
            ("ab", 9, 2),
        ] {
            assert_eq!(raw_offset(raw, offset), expected, "{raw}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let mut files = Files::default();
        let file = files.add(PathBuf::from("x"), "ä\nöx\n".to_owned());
        assert_eq!(files.get(file).position(0), (1, 1));
        assert_eq!(files.get(file).position(5), (2, 2));
        assert_eq!(files.get(file).position(7), (3, 1));
    }
}
