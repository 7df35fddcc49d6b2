//! Diagnostics for people: annotated lines of the file; and for machines: JSON and SARIF 2.1.0.

use super::code::{Code, Severity};
use super::diagnostic::{Diagnostic, Diagnostics, Place};
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

impl Diagnostics {
    /// Prints them to standard error, coloured where that is a terminal.
    pub fn print(&self) {
        let text = self.render(std::io::stderr().is_terminal());
        if !text.is_empty() {
            // Nobody reads it, and there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Every problem with the lines of the file that it is about.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let rendered = self
            .iter()
            .map(|diagnostic| renderer.render(&[self.group(diagnostic)]));
        rendered.collect::<Vec<_>>().join("\n\n")
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level
            .primary_title(&diagnostic.message)
            .id(diagnostic.code.as_str());
        let mut group = Group::with_title(title);
        let mut help = diagnostic.help.as_deref();
        if let Some(place) = &diagnostic.place {
            let label = match (&diagnostic.label, help) {
                (Some(label), _) => Some(label.clone()),
                (None, Some(_)) => help.take().map(|help| format!("help: {help}")),
                (None, None) => None,
            };
            group = self.locate(group, place, AnnotationKind::Primary, label);
        }
        for also in &diagnostic.also {
            group = self.locate(group, also, AnnotationKind::Context, also.label.clone());
        }
        match help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    fn locate<'a>(
        &'a self,
        group: Group<'a>,
        place: &'a Place,
        kind: AnnotationKind,
        label: Option<String>,
    ) -> Group<'a> {
        let path = place.file.display().to_string();
        let Some(text) = self.texts.get(&place.file).filter(|_| place.line > 0) else {
            return group.element(Origin::path(path));
        };
        // Only the line itself is handed over: a large file is not searched again for each problem.
        let (line, mark) = text.line(place.span.clone());
        let mark: Annotation<'a> = kind.span(mark).label(label);
        let snippet = Snippet::source(line).path(path).line_start(place.line);
        group.element(snippet.annotation(mark))
    }

    /// One JSON document: a list of objects.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(&self.list).expect("diagnostics are plain strings and numbers")
    }

    /// A SARIF 2.1.0 log, as code scanners read it.
    pub fn to_sarif(&self) -> Value {
        let rule = |code: &Code| {
            json!({
                "id": code.as_str(),
                "shortDescription": { "text": code.summary() },
                "defaultConfiguration": { "level": code.severity().as_str() },
            })
        };
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": env!("CARGO_PKG_NAME"),
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": Code::ALL.iter().map(rule).collect::<Vec<_>>(),
                } },
                "columnKind": "unicodeCodePoints",
                "results": self.iter().map(|diagnostic| self.sarif_result(diagnostic)).collect::<Vec<_>>(),
            }],
        })
    }

    fn sarif_result(&self, diagnostic: &Diagnostic) -> Value {
        let text = match &diagnostic.help {
            Some(help) => format!("{}; {help}", diagnostic.message),
            None => diagnostic.message.clone(),
        };
        let mut result = json!({
            "ruleId": diagnostic.code.as_str(),
            "level": diagnostic.severity.as_str(),
            "message": { "text": text },
        });
        if let Some(place) = &diagnostic.place {
            result["locations"] = json!([self.sarif_location(place)]);
        }
        if !diagnostic.also.is_empty() {
            let related = diagnostic
                .also
                .iter()
                .map(|place| self.sarif_location(place));
            result["relatedLocations"] = related.collect();
        }
        result
    }

    fn sarif_location(&self, place: &Place) -> Value {
        let mut location = json!({
            "physicalLocation": { "artifactLocation": { "uri": uri(&place.file.to_string_lossy()) } },
        });
        if place.line > 0 {
            let marked =
                (self.texts.get(&place.file)).map_or(0, |text| text.width(place.span.clone()));
            location["physicalLocation"]["region"] = json!({
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.column + marked,
            });
        }
        if let Some(label) = &place.label {
            location["message"] = json!({ "text": label });
        }
        location
    }
}

/// A path as a URI reference: what a URI does not allow is percent-encoded.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
