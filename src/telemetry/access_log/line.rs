//! One line.

use super::captured::{Captured, Head};
use super::text::Escaped;
use super::time::Moment;
use super::{Ended, Settings};
use crate::stack::LogField;
use crate::stack::redaction::{Lossy, MASK, Target};
use a3s_layers::journal::Journal;
use http::header::REFERER;
use http::{HeaderName, HeaderValue};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::time::{Duration, SystemTime};

pub(super) struct Line<'a> {
    pub(super) settings: &'a Settings,
    pub(super) captured: &'a Captured,
    pub(super) ended: &'a Ended<'a>,
}

impl Line<'_> {
    pub(super) fn write_json(&self, buffer: &mut Vec<u8>) {
        let begin = buffer.len();
        // Writing into a Vec does not fail, and every key is a string.
        match serde_json::to_writer(&mut *buffer, self) {
            Ok(()) => buffer.push(b'\n'),
            Err(_) => buffer.truncate(begin),
        }
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
        match (self.settings.redaction.hides_header(name), name) {
            (true, _) => self.target(MASK.as_bytes()),
            // It is a URL.
            _ => self.target(value.as_bytes()),
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in LogField::ALL {
            if self.settings.has(field) {
                map.serialize_key(field.as_str())?;
                map.serialize_value(&Value { line: self, field })?;
            }
        }
        if !self.settings.headers.is_empty() {
            map.serialize_entry("headers", &Headers(self))?;
        }
        map.end()
    }
}

struct Value<'a> {
    line: &'a Line<'a>,
    field: LogField,
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { line, field } = self;
        if line.settings.hides(*field) {
            return to.serialize_str(MASK);
        }
        let (ended, captured) = (line.ended, line.captured);
        let journal = ended.journal;
        match field {
            LogField::Timestamp => to.collect_str(&line.began()),
            LogField::ClientIp => captured.client_ip.serialize(to),
            LogField::Method => line.head().map(|head| head.method.as_str()).serialize(to),
            LogField::Host => text(line.head().and_then(Head::host), to),
            LogField::Path => match line.head() {
                Some(head) => to.collect_str(&line.target(head.target())),
                None => to.serialize_none(),
            },
            LogField::Protocol => line.head().map(Head::version).serialize(to),
            LogField::Status => to.serialize_u16(ended.code()),
            LogField::RequestBytes => to.serialize_u64(ended.request_bytes),
            LogField::ResponseBytes => to.serialize_u64(ended.response_bytes),
            LogField::DurationMs => to.serialize_f64(millis(ended.took)),
            LogField::UpstreamDurationMs => {
                let answered = journal.and_then(|journal| journal.answered_in());
                answered.map(millis).serialize(to)
            }
            LogField::Entrypoint => to.serialize_str(ended.entrypoint),
            LogField::Router => ended.route.map(|route| &*route.router).serialize(to),
            LogField::Service => ended.route.map(|route| &*route.service).serialize(to),
            LogField::Backend => match journal.and_then(|journal| journal.endpoint()) {
                Some(endpoint) => to.serialize_str(endpoint.id()),
                None => to.serialize_none(),
            },
            LogField::Retries => {
                let tries = journal.map_or(0, |journal| journal.count_tries());
                to.serialize_u32(tries.saturating_sub(1))
            }
            LogField::Reason => ended.reason.serialize(to),
            LogField::UserAgent => {
                let agent = line.head().and_then(|head| head.user_agent.as_ref());
                text(agent.map(HeaderValue::as_bytes), to)
            }
            LogField::RequestId => {
                let id = journal.and_then(|journal| journal.request_id());
                text(id.map(HeaderValue::as_bytes), to)
            }
            LogField::TraceId => match journal.and_then(Journal::trace_id).or(captured.trace_id) {
                Some(id) => to.collect_str(&id),
                None => to.serialize_none(),
            },
            LogField::TlsVersion => {
                let tls = captured.peer.as_ref().and_then(|peer| peer.tls());
                tls.map(|tls| tls.version).serialize(to)
            }
        }
    }
}

fn text<S: Serializer>(bytes: Option<&[u8]>, to: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => to.collect_str(&Lossy(bytes)),
        None => to.serialize_none(),
    }
}

/// The fields of the header that are asked for: each as often as it came, in the order in which they are asked for.
struct Headers<'a>(&'a Line<'a>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(line) = self;
        let headers = line.head().map_or(&[][..], |head| &head.headers);
        let mut map = to.serialize_map(None)?;
        for same in headers.chunk_by(|(one, _), (other, _)| one == other) {
            map.serialize_entry(same[0].0.as_str(), &Lines(line, same))?;
        }
        map.end()
    }
}

/// The lines of one field: they are one value (RFC 9110, 5.3).
struct Lines<'a>(&'a Line<'a>, &'a [(HeaderName, HeaderValue)]);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(line, lines) = self;
        for (index, (name, value)) in lines.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            line.told(name, value).fmt(f)?;
        }
        Ok(())
    }
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
