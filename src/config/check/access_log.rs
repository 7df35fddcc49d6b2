//! `access_log { }`.

use super::Check;
use super::place::keys;
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::stack::LogField;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

impl Check<'_> {
    pub(super) fn access_log(&mut self) {
        let Some(log) = &self.config.access_log else {
            return;
        };
        if !(log.sample > 0.0 && log.sample <= 1.0) {
            let sample = log.sample;
            let message = format!("`sample` is a share above 0 and up to 1, not {sample}");
            let mut problem = Problem::new(Code::OutOfRange, message);
            if sample > 1.0 && sample <= 100.0 {
                problem = problem.help(format!("{sample} % is {}", sample / 100.0));
            }
            self.report(&keys!["access_log", "sample"], problem);
        }
        if let Some(min) = log.min_duration {
            let place = keys!["access_log", "min_duration"];
            self.duration(&place, min, Duration::from_millis(1), HOUR);
        }
        let is_empty = log
            .file
            .as_ref()
            .is_some_and(|file| file.as_os_str().is_empty());
        if is_empty {
            let problem = Problem::new(Code::InvalidValue, "the name of the file is empty");
            let problem = problem.help("leave it out to write to standard output".to_owned());
            self.report(&keys!["access_log", "file"], problem);
        }
        let fields = &log.fields;
        if LogField::ALL
            .iter()
            .all(|field| fields.drop.contains(field))
        {
            let problem =
                Problem::new(Code::Choice, "every field is dropped: lines would be empty");
            self.report(&keys!["access_log", "fields", "drop"], problem);
        }
        for (key, names) in [("redact", &fields.redact), ("reveal", &fields.reveal)] {
            for (index, name) in names.iter().enumerate() {
                let place = keys!["access_log", "fields", key, index];
                if let Some(problem) = no_name(name) {
                    self.report(&place, problem);
                }
            }
        }
        for (index, name) in fields.reveal.iter().enumerate() {
            let is_both = fields
                .redact
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name));
            if is_both {
                let message = format!("`{name}` is in `redact`, too");
                let problem = Problem::new(Code::Choice, message);
                self.report(&keys!["access_log", "fields", "reveal", index], problem);
            }
        }
    }
}

/// What is wrong with a word that names neither a header nor a parameter of queries, and so would hide nothing.
fn no_name(word: &str) -> Option<Problem> {
    let names_nothing =
        |c: char| c.is_whitespace() || c.is_control() || "=&;#?%[]:\"'*".contains(c);
    if word.is_empty() {
        return Some(Problem::new(Code::InvalidValue, "the name is empty"));
    }
    let wrong = word.find(names_nothing)?;
    let is_name = |name: &&str| !name.is_empty() && !name.contains(names_nothing);
    let help = match &word[wrong..] {
        rest if rest.contains('*') => {
            Some("names are compared as a whole: write each of them".to_owned())
        }
        rest if rest.starts_with('[') && is_name(&&word[..wrong]) => {
            let name = &word[..wrong];
            Some(format!(
                "write `{name}`, which stands for `{name}[]` as well"
            ))
        }
        rest if rest.starts_with('%') => Some("write it without escapes".to_owned()),
        // The value along with it, or the mark before it.
        _ => (word.split(names_nothing).find(is_name))
            .map(|name| format!("write the name alone: `{name}`")),
    };
    let message = format!("`{word}` is the name of neither a header nor a parameter");
    Some(Problem::new(Code::InvalidValue, message).help(help))
}
