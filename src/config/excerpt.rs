//! The text of a file as it is shown beside a problem: secrets are blotted out of it.

use super::functions::FUNCTIONS;
use std::ops::Range;

/// What is shown in place of a secret, however long it is.
const BLOT: &str = "***";

/// A text without its secrets. All else stands where it stood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    text: String,
    /// What is blotted out, in order, and nothing twice.
    blots: Vec<Blot>,
}

#[derive(Debug, PartialEq, Eq)]
struct Blot {
    /// The secret as it is written.
    whole: Range<usize>,
    /// The same without what may be shown of it.
    inner: Range<usize>,
    /// How many characters that are.
    width: usize,
}

impl Text {
    /// Takes out the `secrets`, of which one may be within another.
    pub(super) fn new(text: &str, secrets: impl Iterator<Item = Range<usize>>) -> Text {
        let written = |whole: &Range<usize>| text.get(whole.clone()).is_some_and(|t| !t.is_empty());
        let mut secrets: Vec<_> = secrets.filter(written).collect();
        secrets.sort_by_key(|whole| (whole.start, usize::MAX - whole.end));
        let mut blots: Vec<Blot> = Vec::new();
        for whole in secrets {
            if blots
                .last()
                .is_some_and(|last| whole.start < last.whole.end)
            {
                continue;
            }
            let inner = inner(&text[whole.clone()]);
            let inner = whole.start + inner.start..whole.start + inner.end;
            let width = text[inner.clone()].chars().count();
            blots.push(Blot {
                whole,
                inner,
                width,
            });
        }
        let mut text = text.to_owned();
        for blot in &blots {
            // Byte for byte, so that every other place stays where it is.
            text.replace_range(blot.inner.clone(), &"*".repeat(blot.inner.len()));
        }
        Text { text, blots }
    }

    /// A place as it may be told: one that is a secret, or is in it, says nothing of its length.
    pub(super) fn told(&self, span: Range<usize>) -> Range<usize> {
        match self.blot_at(span.start) {
            Some(blot) if span.end <= blot.whole.end => span.start..span.start,
            _ => span,
        }
    }

    /// The line in which `span` begins, and the part of it that is marked.
    pub(super) fn line(&self, span: Range<usize>) -> (String, Range<usize>) {
        let (start, end) = self.line_around(span.start);
        let mut from = span.start.clamp(start, end);
        let mut to = span.end.clamp(from, end);
        if let Some(blot) = self.blot_at(from).filter(|blot| span.end <= blot.whole.end) {
            (from, to) = (blot.whole.start.max(start), blot.whole.end.min(end));
        }
        let mut line = String::new();
        let (mut at, mut mark) = (start, 0..0);
        let mut put = |line: &mut String, at: usize, upto: usize| {
            if (at..=upto).contains(&from) {
                mark.start = line.len() + from - at;
            }
            if (at..=upto).contains(&to) {
                mark.end = line.len() + to - at;
            }
            line.push_str(&self.text[at..upto]);
        };
        for blot in &self.blots {
            let inner = blot.inner.start.max(at)..blot.inner.end.min(end);
            if inner.is_empty() {
                continue;
            }
            put(&mut line, at, inner.start);
            match blot.whole.end <= from {
                // The column of what stands behind it counts its characters.
                true => line.push_str(&"*".repeat(blot.width)),
                false => line.push_str(BLOT),
            }
            at = inner.end;
        }
        put(&mut line, at, end);
        (line, mark.start..mark.end.max(mark.start))
    }

    /// How many characters of its first line a place has.
    pub(super) fn width(&self, span: Range<usize>) -> usize {
        let text = self.text.get(span).unwrap_or_default();
        text.split('\n').next().unwrap_or_default().chars().count()
    }

    fn blot_at(&self, at: usize) -> Option<&Blot> {
        let mut blots = self.blots.iter();
        blots.find(|blot| blot.whole.contains(&at))
    }

    fn line_around(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let start = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        (start, start + line.strip_suffix('\r').unwrap_or(line).len())
    }
}

/// What of a secret is to be blotted out: its quotation marks are shown, and the function that it comes from.
fn inner(secret: &str) -> Range<usize> {
    if secret.len() >= 2 && secret.starts_with('"') && secret.ends_with('"') {
        return 1..secret.len() - 1;
    }
    let called = FUNCTIONS.iter().find_map(|(name, _)| {
        let arguments = secret.strip_prefix(name)?.strip_prefix('(')?;
        arguments.ends_with(')').then_some(name.len() + 1)
    });
    match called {
        Some(start) => start..secret.len() - 1,
        None => 0..secret.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of `text` with the mark of `marked` in it, where `secrets` are some.
    fn shown(text: &str, secrets: &[&str], marked: &str) -> (String, String) {
        let place = |part: &str| {
            let start = text.find(part).unwrap();
            start..start + part.len()
        };
        let shown = Text::new(text, secrets.iter().map(|secret| place(secret)));
        let (line, mark) = shown.line(shown.told(place(marked)));
        let marked = line[mark].to_owned();
        (line, marked)
    }

    #[test]
    fn nothing_of_a_secret_is_shown_but_its_quotation_marks() {
        for (text, secret, line, marked) in [
            ("a = \"hunter2\"", "\"hunter2\"", "a = \"***\"", "\"***\""),
            ("a = \"x\"", "\"x\"", "a = \"***\"", "\"***\""),
            ("a = 123456", "123456", "a = ***", "***"),
            ("a = 1\r\nb = 2", "1", "a = ***", "***"),
            ("a = \"über\" # b", "\"über\"", "a = \"***\" # b", "\"***\""),
            ("a = <<E\nhunter2\nE\n", "<<E\nhunter2\nE", "a = ***", "***"),
            (
                "a = env(\"PIN\", \"1234\")",
                "env(\"PIN\", \"1234\")",
                "a = env(***)",
                "env(***)",
            ),
            ("a = f(\"1234\")", "f(\"1234\")", "a = ***", "***"),
        ] {
            let expected = (line.to_owned(), marked.to_owned());
            assert_eq!(shown(text, &[secret], secret), expected, "{text}");
        }
    }

    #[test]
    fn what_is_marked_stands_where_it_is_beside_secrets() {
        let text = "x = { b = 1, a = \"hunter2\", c = 2 }";
        let secrets = ["\"hunter2\"", "hunter2"];
        for (marked, line) in [
            ("b", "x = { b = 1, a = \"***\", c = 2 }"),
            ("x", "x = { b = 1, a = \"***\", c = 2 }"),
            // Its column tells as much.
            ("c", "x = { b = 1, a = \"*******\", c = 2 }"),
        ] {
            let expected = (line.to_owned(), marked.to_owned());
            assert_eq!(shown(text, &secrets, marked), expected);
        }
        let (line, marked) = shown("a = \"über\", c = 2", &["\"über\""], "c");
        assert_eq!((&*line, &*marked), ("a = \"****\", c = 2", "c"));
        let (line, marked) = shown(text, &secrets, "{ b = 1, a = \"hunter2\", c = 2 }");
        assert_eq!(line, "x = { b = 1, a = \"***\", c = 2 }");
        assert_eq!(marked, "{ b = 1, a = \"***\", c = 2 }");
    }
}
