//! One line.

use super::captured::{Captured, Head};
use super::json::Json;
use super::text::Escaped;
use super::time::Moment;
use super::{Ended, Settings};
use crate::stack::LogField;
use crate::stack::redaction::{Lossy, MASK, Target};
use a3s_layers::journal::Journal;
use http::header::REFERER;
use http::{HeaderName, HeaderValue};
use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

pub(super) struct Line<'a> {
    pub(super) settings: &'a Settings,
    pub(super) captured: &'a Captured,
    pub(super) ended: &'a Ended<'a>,
}

impl Line<'_> {
    pub(super) fn write_json(&self, columns: &[Column], buffer: &mut Vec<u8>) {
        let mut json = Json(buffer);
        for column in columns {
            column.write(self, &mut json);
        }
        if !self.settings.headers.is_empty() {
            json.key(columns.is_empty(), "headers");
            self.write_headers(&mut json);
        } else if columns.is_empty() {
            json.0.push(b'{');
        }
        json.0.extend_from_slice(b"}\n");
    }

    /// The fields of the header that are asked for, in the order in which they are asked for. The lines of one field
    /// are one value (RFC 9110, 5.3).
    fn write_headers(&self, json: &mut Json<'_>) {
        let headers = self.head().map_or(&[][..], |head| &head.headers);
        let mut is_first = true;
        for same in headers.chunk_by(|(one, _), (other, _)| one == other) {
            json.key(is_first, same[0].0.as_str());
            let values = same.iter().map(|(name, value)| self.told(name, value));
            target(json, values);
            is_first = false;
        }
        if is_first {
            json.0.push(b'{');
        }
        json.0.push(b'}');
    }

    /// Apache's combined format: `%h - - [%t] "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
    pub(super) fn write_clf(&self, buffer: &mut Vec<u8>) {
        // Writing into a Vec does not fail.
        let _ = writeln!(buffer, "{}", Clf(self));
    }

    fn head(&self) -> Option<&Head> {
        self.captured.head.as_ref()
    }

    fn target<'a>(&'a self, text: &'a [u8]) -> Target<'a> {
        let redaction = &self.settings.redaction;
        Target { text, redaction }
    }

    fn began(&self) -> Moment {
        let now = SystemTime::now();
        Moment::at(now.checked_sub(self.ended.took).unwrap_or(now))
    }

    /// The value of a header, if it may be told.
    fn told<'a>(&'a self, name: &HeaderName, value: &'a HeaderValue) -> Target<'a> {
        match self.settings.redaction.hides_header(name) {
            true => self.target(MASK.as_bytes()),
            // It may be a URL.
            false => self.target(value.as_bytes()),
        }
    }
}

/// What is written of a field, and before it: decided when a configuration is compiled.
#[derive(Debug)]
pub(super) struct Column {
    field: LogField,
    is_masked: bool,
    key: Box<[u8]>,
}

impl Column {
    /// Those that lines with these settings have.
    pub(super) fn of(settings: &Settings) -> Box<[Self]> {
        let written = LogField::ALL.into_iter();
        let written = written.filter(|field| settings.has(*field));
        let columns = written.enumerate().map(|(index, field)| {
            let mut key = Vec::new();
            Json(&mut key).key(index == 0, field.as_str());
            Self {
                field,
                is_masked: settings.hides(field),
                key: key.into(),
            }
        });
        columns.collect()
    }

    fn write(&self, line: &Line<'_>, json: &mut Json<'_>) {
        json.0.extend_from_slice(&self.key);
        if self.is_masked {
            return json.plain(MASK.as_bytes());
        }
        let (ended, captured, head) = (line.ended, line.captured, line.head());
        let journal = ended.journal;
        match self.field {
            LogField::Timestamp => json.plain(&line.began().rfc3339()),
            LogField::ClientIp => json.address(captured.client_ip),
            LogField::Method => text(json, head.map(|head| head.method.as_str())),
            LogField::Host => text(json, head.and_then(Head::host)),
            LogField::Path => match head {
                Some(head) => target(json, [line.target(head.target())]),
                None => json.null(),
            },
            LogField::Protocol => text(json, head.map(Head::version)),
            LogField::Status => json.number(ended.code().into()),
            LogField::RequestBytes => json.number(ended.request_bytes),
            LogField::ResponseBytes => json.number(ended.response_bytes),
            LogField::DurationMs => json.millis(ended.took),
            LogField::UpstreamDurationMs => match journal.and_then(Journal::answered_in) {
                Some(duration) => json.millis(duration),
                None => json.null(),
            },
            LogField::Entrypoint => json.string(ended.entrypoint.as_bytes()),
            LogField::Router => text(json, ended.route.map(|route| &*route.router)),
            LogField::Service => text(json, ended.route.map(|route| &*route.service)),
            LogField::Backend => {
                let endpoint = journal.and_then(Journal::endpoint);
                text(json, endpoint.as_deref().map(|endpoint| endpoint.id()));
            }
            LogField::Retries => {
                let tries = journal.map_or(0, Journal::count_tries);
                json.number(tries.saturating_sub(1).into());
            }
            LogField::Reason => text(json, ended.reason),
            LogField::UserAgent => {
                let agent = head.and_then(|head| head.user_agent.as_ref());
                text(json, agent.map(HeaderValue::as_bytes));
            }
            LogField::RequestId => {
                let id = journal.and_then(Journal::request_id);
                text(json, id.map(HeaderValue::as_bytes));
            }
            LogField::TraceId => match journal.and_then(Journal::trace_id).or(captured.trace_id) {
                Some(id) => json.displayed(id),
                None => json.null(),
            },
            LogField::TlsVersion => {
                let tls = captured.peer.as_ref().and_then(|peer| peer.tls());
                text(json, tls.map(|tls| tls.version));
            }
        }
    }
}

fn text(json: &mut Json<'_>, text: Option<impl AsRef<[u8]>>) {
    match text {
        Some(text) => json.string(text.as_ref()),
        None => json.null(),
    }
}

/// Targets, as one string.
fn target<'a>(json: &mut Json<'_>, targets: impl IntoIterator<Item = Target<'a>>) {
    json.open();
    for (index, target) in targets.into_iter().enumerate() {
        if index > 0 {
            json.text(b", ");
        }
        target.pieces(|piece| json.text(piece));
    }
    json.close();
}

struct Clf<'a>(&'a Line<'a>);

impl Display for Clf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(line) = self;
        let (settings, head) = (line.settings, line.head());
        // It has a place for each of them, whatever is dropped.
        let shows = |field| settings.has(field) && !settings.hides(field);
        match shows(LogField::ClientIp) {
            true => write!(f, "{} - - [", line.captured.client_ip)?,
            false => f.write_str("- - - [")?,
        }
        line.began().apache(f)?;
        f.write_str("] \"")?;
        match head {
            None => f.write_char('-')?,
            Some(head) => {
                let mut out = Escaped(&mut *f);
                out.write_str(head.method.as_str())?;
                match shows(LogField::Path) {
                    true => write!(out, " {}", line.target(head.target()))?,
                    false => out.write_str(" -")?,
                }
                write!(out, " {}", head.version())?;
            }
        }
        write!(f, "\" {} ", line.ended.code())?;
        match line.ended.response_bytes {
            0 => f.write_char('-')?,
            bytes => write!(f, "{bytes}")?,
        }
        let referer = head.and_then(|head| head.referer.as_ref());
        let referer = referer.map(|referer| line.told(&REFERER, referer));
        quoted(f, referer)?;
        let agent = head.and_then(|head| head.user_agent.as_ref());
        let agent = agent.filter(|_| shows(LogField::UserAgent));
        quoted(f, agent.map(|agent| Lossy(agent.as_bytes())))
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: Option<impl Display>) -> fmt::Result {
    f.write_str(" \"")?;
    match text {
        Some(text) => write!(Escaped(&mut *f), "{text}")?,
        None => f.write_char('-')?,
    }
    f.write_char('"')
}
