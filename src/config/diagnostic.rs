//! What is wrong with a configuration: problems as they are found, and diagnostics as they are shown.

use super::code::{Code, Severity};
use super::excerpt::Text;
use super::source::{At, Files};
use crate::rule::Example;
use crate::stack::visible::Visible;
use serde::Serialize;
use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range, path::PathBuf, sync::Arc};

/// One problem, with its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; none for a configuration that was built in code.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Place>,
    /// A request, or a connection, that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

impl Diagnostic {
    /// What it says, in a line of a fair length: it may quote what others have written.
    fn bounded(mut self) -> Diagnostic {
        self.message = bounded(&self.message);
        self.label = self.label.as_deref().map(bounded);
        self.help = self.help.as_deref().map(bounded);
        self
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 is the line as a whole.
    pub column: usize,
    /// The bytes of the file.
    pub span: Range<usize>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ":{line}:{}", self.column),
        }
    }
}

/// The short form: `gateway.hcl:14:13: error[E012]: message; help`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        let severity = self.severity.as_str();
        write!(f, "{severity}[{}]: {}", self.code.as_str(), self.message)?;
        for also in &self.also {
            let label = also.label.as_deref().unwrap_or("see");
            write!(f, "; {label} {also}")?;
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Every problem of a configuration, ordered by file and place.
#[derive(Clone, Default)]
pub struct Diagnostics {
    pub(super) list: Vec<Diagnostic>,
    /// The texts to show, secrets blotted out.
    pub(super) texts: BTreeMap<PathBuf, Arc<Text>>,
}

impl Diagnostics {
    /// Whether the configuration is refused.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter().filter(|d| d.severity == Severity::Error)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter().filter(|d| d.severity == Severity::Warning)
    }

    /// Adds what was found after loading.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic.bounded());
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Diagnostics) {
        self.list.extend(other.list.iter().cloned());
        self.keep_texts(other);
    }

    /// Has the texts of `other` to show, too.
    pub(super) fn keep_texts(&mut self, other: &Diagnostics) {
        let texts = other.texts.iter();
        self.texts
            .extend(texts.map(|(path, text)| (path.clone(), Arc::clone(text))));
    }

    /// Puts problems into order and gives them their places; `secrets` are blotted out of what is shown.
    pub(super) fn new(mut problems: Vec<Problem>, files: &Files, secrets: &[At]) -> Diagnostics {
        // Problems without a place come first; where two stand in one place, the order of finding them is kept.
        problems.sort_by_key(|problem| problem.at.map(|at| (at.file, at.start)));
        problems.dedup_by(|a, b| a.at.is_some() && a.at == b.at && a.message == b.message);
        let mut diagnostics = Diagnostics::default();
        for problem in problems {
            for at in problem
                .at
                .iter()
                .chain(problem.also.iter().map(|(at, _)| at))
            {
                diagnostics.keep_text(at.file, files, secrets);
            }
            let mut diagnostic = problem.place(files);
            let places = diagnostic.place.iter_mut();
            for place in places.chain(&mut diagnostic.also) {
                if let Some(text) = diagnostics.texts.get(&place.file) {
                    place.span = text.told(place.span.clone());
                }
            }
            diagnostics.push(diagnostic);
        }
        diagnostics
    }

    fn keep_text(&mut self, file: u32, files: &Files, secrets: &[At]) {
        let source = files.get(file);
        if self.texts.contains_key(&source.path) {
            return;
        }
        let secrets = secrets.iter().filter(|at| at.file == file);
        let text = Text::new(&source.text, secrets.map(|at| at.span()));
        self.texts.insert(source.path.clone(), Arc::new(text));
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The short form, a line for each.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A problem as it is found.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) at: Option<At>,
    pub(crate) label: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) also: Vec<(At, &'static str)>,
    /// The file that it is about, where no place in a text can be named.
    pub(crate) file: Option<PathBuf>,
    pub(crate) example: Option<Example>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
            at: None,
            label: None,
            help: None,
            also: Vec::new(),
            file: None,
            example: None,
        }
    }

    pub(crate) fn at(mut self, at: At) -> Problem {
        self.at = Some(at);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Problem {
        self.help = help.into();
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn also(mut self, at: Option<At>, label: &'static str) -> Problem {
        self.also.extend(at.map(|at| (at, label)));
        self
    }

    pub(crate) fn example(mut self, example: Example) -> Problem {
        self.example = Some(example);
        self
    }

    pub(crate) fn file(mut self, file: PathBuf) -> Problem {
        self.file = Some(file);
        self
    }

    fn place(self, files: &Files) -> Diagnostic {
        let place = |at: At, label: Option<&str>| {
            let file = files.get(at.file);
            let (line, column) = file.position(at.start as usize);
            Place {
                file: file.path.clone(),
                line,
                column,
                span: at.span(),
                label: label.map(str::to_owned),
            }
        };
        let whole_file = |file| Place {
            file,
            line: 0,
            column: 0,
            span: 0..0,
            label: None,
        };
        Diagnostic {
            severity: self.code.severity(),
            code: self.code,
            message: self.message,
            place: self
                .at
                .map(|at| place(at, None))
                .or(self.file.map(whole_file)),
            label: self.label,
            help: self.help,
            example: self.example,
            also: self
                .also
                .iter()
                .map(|(at, label)| place(*at, Some(label)))
                .collect(),
        }
    }
}

/// How much is shown of what is quoted, in characters.
const MAX_QUOTED: usize = 200;

/// How much is said in all.
const MAX_SAID: usize = 2000;

/// A text in which nothing that it quotes is longer than it has to be, and nothing moves the rest.
fn bounded(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '"']) {
        let quote = rest[at..].chars().next().unwrap_or_default();
        let (before, quoted) = rest.split_at(at + 1);
        let Some(end) = quoted.find(quote) else { break };
        said.push_str(before);
        said.push_str(&cut(&quoted[..end], MAX_QUOTED));
        said.push(quote);
        rest = &quoted[end + 1..];
    }
    said.push_str(rest);
    Visible(&cut(&said, MAX_SAID)).to_string()
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// `did you mean ...?`, for the nearest of the names that could have been meant.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Transposed letters count as one slip; a third of the letters may be wrong.
    let limit = (written.chars().count() / 3).max(1);
    (names.into_iter())
        .filter(|name| name.len().abs_diff(written.len()) <= limit * 4)
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}
