//! What formatting changes, as `diff -u` shows it.

use std::fmt::Write;
use std::path::Path;

/// Lines of context around a change.
const CONTEXT: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'t> {
    Same(&'t str),
    Out(&'t str),
    In(&'t str),
}

/// The difference in the unified format; nothing where there is none.
pub(super) fn unified(name: &Path, before: &str, after: &str) -> String {
    let steps = steps(before, after);
    let mut text = String::new();
    let mut at = 0;
    while let Some(first) = steps[at..].iter().position(|step| !is_same(step)) {
        if text.is_empty() {
            let name = name.display();
            let _ = writeln!(text, "--- {name}\n+++ {name} (formatted)");
        }
        let start = (at + first).saturating_sub(CONTEXT).max(at);
        let end = end_of_hunk(&steps, at + first);
        hunk(&mut text, &steps, start, end);
        at = end;
    }
    text
}

fn is_same(step: &Step<'_>) -> bool {
    matches!(step, Step::Same(_))
}

/// Formatting moves no line past another, and neither joins nor breaks any: only blank ones come and go.
fn steps<'t>(before: &'t str, after: &'t str) -> Vec<Step<'t>> {
    let mut before = before.split_inclusive('\n').peekable();
    let mut after = after.split_inclusive('\n').peekable();
    let mut steps = Vec::new();
    // Changed lines that follow each other are shown as one change.
    let mut new = Vec::new();
    let is_blank = |line: &&str| line.trim().is_empty();
    loop {
        let (old_blank, new_blank) = (before.peek().map(is_blank), after.peek().map(is_blank));
        let pair = match (old_blank, new_blank) {
            (None, None) => break,
            (Some(true), Some(false) | None) | (Some(false), None) => (before.next(), None),
            (Some(false) | None, Some(true)) | (None, Some(false)) => (None, after.next()),
            _ => (before.next(), after.next()),
        };
        match pair {
            (Some(old), Some(line)) if old == line => {
                steps.append(&mut new);
                steps.push(Step::Same(old));
            }
            (old, line) => {
                steps.extend(old.map(Step::Out));
                new.extend(line.map(Step::In));
            }
        }
    }
    steps.append(&mut new);
    steps
}

/// Behind the last change that is near enough to the one before it, and its context.
fn end_of_hunk(steps: &[Step<'_>], first: usize) -> usize {
    let mut last = first;
    let near = |last: usize| {
        let next = steps[last + 1..].iter().position(|step| !is_same(step));
        next.filter(|distance| *distance <= 2 * CONTEXT)
    };
    while let Some(distance) = near(last) {
        last += distance + 1;
    }
    (last + 1 + CONTEXT).min(steps.len())
}

fn hunk(text: &mut String, steps: &[Step<'_>], start: usize, end: usize) {
    let count = |steps: &[Step<'_>], in_old: bool| {
        let there = steps.iter().filter(|step| match step {
            Step::Same(_) => true,
            Step::Out(_) => in_old,
            Step::In(_) => !in_old,
        });
        there.count()
    };
    let range = |in_old| {
        let (lines, above) = (
            count(&steps[start..end], in_old),
            count(&steps[..start], in_old),
        );
        // Of a range with no lines it is the line before that is named.
        format!("{},{lines}", above + usize::from(lines > 0))
    };
    let _ = writeln!(text, "@@ -{} +{} @@", range(true), range(false));
    for step in &steps[start..end] {
        let (mark, line) = match step {
            Step::Same(line) => (' ', line),
            Step::Out(line) => ('-', line),
            Step::In(line) => ('+', line),
        };
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_diff_writes_it() {
        let path = Path::new("x.hcl");
        assert_eq!(unified(path, "a = 1\n", "a = 1\n"), "");
        let before = "\na=1\nb=2\n\n\nc = 1\nd = 1\ne = 1\nf = 1\ng = 1\nh = 1\ni = 1\nj=1";
        let after = "a = 1\nb = 2\n\nc = 1\nd = 1\ne = 1\nf = 1\ng = 1\nh = 1\ni = 1\nj = 1\n";
        let expected = "\
--- x.hcl
+++ x.hcl (formatted)
@@ -1,8 +1,6 @@
-
-a=1
-b=2
+a = 1
+b = 2
 
-
 c = 1
 d = 1
 e = 1
@@ -10,4 +8,4 @@
 g = 1
 h = 1
 i = 1
-j=1
\\ No newline at end of file
+j = 1
";
        assert_eq!(unified(path, before, after), expected);
    }
}
