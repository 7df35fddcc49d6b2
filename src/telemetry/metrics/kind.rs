//! By what exchanges are told apart: what was asked, in which protocol, and how that ended. Each has few values, so
//! that no client makes series at will.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

/// The methods that are told apart: those of RFC 9110 and PATCH (RFC 5789), as in OpenTelemetry's conventions.
const METHODS: [&str; 10] = [
    "other", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The status of an exchange whose client went away before there was one (nginx's).
pub const CLIENT_GONE: u16 = 499;

/// A method, or one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verb(u8);

impl Verb {
    /// One of the others, or none that could be read.
    pub const OTHER: Self = Self(0);

    /// Of a request.
    pub fn of(method: &Method) -> Self {
        let at = METHODS.iter().position(|known| *known == method.as_str());
        Self(at.unwrap_or(0) as u8)
    }

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

/// What is spoken in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoken {
    /// A request and an answer.
    Http,
    /// gRPC, or gRPC-Web.
    Grpc,
    /// What a connection goes on in: WebSockets, as a rule.
    Websocket,
    /// Events of a server, for as long as they come.
    Sse,
}

impl Spoken {
    /// Each, in their order.
    pub const ALL: [Self; 4] = [Self::Http, Self::Grpc, Self::Websocket, Self::Sse];

    /// As far as a request says.
    pub fn of_request(headers: &HeaderMap) -> Self {
        match has_type(headers, b"application/grpc") {
            true => Self::Grpc,
            false => Self::Http,
        }
    }

    /// As the head of an answer says of what seemed to be this.
    pub fn with_answer(self, is_switched: bool, headers: &HeaderMap) -> Self {
        match self {
            _ if is_switched => Self::Websocket,
            Self::Http if has_type(headers, b"text/event-stream") => Self::Sse,
            same => same,
        }
    }

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

fn has_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let value = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let start = value.and_then(|value| value.get(..wanted.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(wanted))
}

/// What an exchange is counted under, in a word that is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    code: u16,
    verb: Verb,
    spoken: Spoken,
}

impl Kind {
    /// Of an exchange that ended with this status.
    pub fn new(code: u16, verb: Verb, spoken: Spoken) -> Self {
        Self { code, verb, spoken }
    }

    /// What is counted where there are too many kinds.
    pub(super) fn others(spoken: Spoken) -> Self {
        Self::new(0, Verb::OTHER, spoken)
    }

    /// The status; none where that of many is counted.
    pub fn code(self) -> Option<u16> {
        (self.code > 0).then_some(self.code)
    }

    /// The method.
    pub fn verb(self) -> Verb {
        self.verb
    }

    /// What is spoken.
    pub fn spoken(self) -> Spoken {
        self.spoken
    }

    pub(super) fn pack(self) -> u32 {
        let (code, verb) = (u32::from(self.code), u32::from(self.verb.0));
        1 << 31 | code << 8 | verb << 4 | self.spoken as u32
    }

    pub(super) fn unpack(word: u32) -> Self {
        Self {
            code: (word >> 8) as u16,
            verb: Verb((word >> 4 & 15) as u8),
            spoken: Spoken::ALL[(word & 3) as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_kind_is_what_it_was_packed_from() {
        for code in [0, 100, 499, 999] {
            for method in ["GET", "PATCH", "BREW", "get"] {
                for spoken in Spoken::ALL {
                    let verb = Verb::of(&Method::from_bytes(method.as_bytes()).unwrap());
                    let kind = Kind::new(code, verb, spoken);
                    assert_eq!(Kind::unpack(kind.pack()), kind);
                }
            }
        }
        assert_eq!(
            Verb::of(&Method::from_bytes(b"BREW").unwrap()).as_str(),
            "other"
        );
        assert_eq!(Verb::of(&Method::PATCH).as_str(), "PATCH");
    }

    #[test]
    fn what_is_spoken_is_told_by_both_heads() {
        let headers = |value| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            headers
        };
        for (asked, is_switched, answered, spoken) in [
            ("text/plain", false, "text/html", Spoken::Http),
            (
                "application/grpc+proto",
                false,
                "application/grpc",
                Spoken::Grpc,
            ),
            ("Application/gRPC-Web", false, "text/html", Spoken::Grpc),
            ("", true, "", Spoken::Websocket),
            ("", false, "text/event-stream; charset=utf-8", Spoken::Sse),
        ] {
            let spoken_so_far = Spoken::of_request(&headers(asked));
            assert_eq!(
                spoken_so_far.with_answer(is_switched, &headers(answered)),
                spoken
            );
        }
    }
}
