//! A request that is served to see what would become of it: a rehearsal.
//!
//! It goes the way of every request, down to the client of the server, which sends nothing. Its
//! [`Journal`] says that it is one, and gathers [`Note`]s: layers that would have an effect, or ask
//! somebody, hold back and say what they would do.
//!
//! ```
//! use a3s_layers::journal::Journal;
//! use a3s_layers::rehearsal::Note;
//! use http::Request;
//!
//! let mut request = Request::new(());
//! request.extensions_mut().insert(Journal::rehearsal());
//!
//! // In a layer that counts requests:
//! match Journal::rehearsed(&request) {
//!     Some(journal) => journal.would("counts the request"),
//!     None => { /* counts it */ }
//! }
//! let journal = request.extensions().get::<Journal>().unwrap();
//! assert!(matches!(&journal.notes()[..], [(0, Note::Would(what))] if &**what == "counts the request"));
//! ```

use crate::endpoint::Endpoint;
use crate::journal::Journal;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use std::sync::{Arc, Mutex, PoisonError};

/// The most notes that are kept of a rehearsal.
pub const MAX_NOTES: usize = 1024;

/// The most servers that are noted of one pool.
pub const MAX_CANDIDATES: usize = 256;

/// Something that was seen in a rehearsal.
#[derive(Debug, Clone)]
pub enum Note {
    /// The request, as it came there.
    Request(Box<Head>),
    /// The answer, as it came back there.
    Response(StatusCode, Box<HeaderMap>),
    /// What a layer would do, in words that follow on its name: `asks http://auth/ whether the request may pass`.
    Would(Box<str>),
    /// The revision of a service, its share in hundredths, and its servers.
    Revision(Arc<str>, u8, Vec<Candidate>),
    /// The servers of a pool, one of which would be picked.
    Servers(Vec<Candidate>),
    /// The request as this server would get it.
    Sent(Box<str>, Box<Head>),
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its fields.
    pub headers: HeaderMap,
}

/// A server that may be picked, or may not.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its handle.
    pub endpoint: Arc<Endpoint>,
    /// Its weight.
    pub weight: u32,
    /// Whether it is picked.
    pub choice: Choice,
}

/// Whether a server is picked for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It may be: it depends on turns, load or chance.
    Possible,
    /// It is: the request belongs to it, by its session or its hash.
    Certain,
    /// Something is wrong with it.
    Troubled,
    /// It has no room.
    Full,
    /// Its weight is 0, and the request is not its own.
    Weightless,
    /// It may not be, for the request belongs to another.
    Passed,
}

/// The answer that stands for a server's: an extension of it. No server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandIn;

impl Head {
    /// Of this request.
    pub fn of<B>(request: &Request<B>) -> Box<Self> {
        Box::new(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }
}

/// What has been noted, each note with the [position](Journal::position) of then.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<(u32, Note)>>);

impl Notes {
    fn with<T>(&self, with: impl FnOnce(&mut Vec<(u32, Note)>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal {
    /// Of a request that is served to see what becomes of it.
    pub fn rehearsal() -> Self {
        Self::with(Some(Box::default()))
    }

    /// The journal of a request that is such a one; none for every other.
    pub fn rehearsed<B>(request: &Request<B>) -> Option<Self> {
        let journal = request.extensions().get::<Self>()?;
        journal.is_rehearsal().then(|| journal.clone())
    }

    /// Whether it is of such a request.
    pub fn is_rehearsal(&self) -> bool {
        self.rehearsal_notes().is_some()
    }

    /// Notes something; past [`MAX_NOTES`], and where nothing is rehearsed, nothing.
    pub fn note(&self, note: Note) {
        self.note_at(self.position(), note);
    }

    /// As [`Journal::note`], for another position.
    pub fn note_at(&self, position: u32, note: Note) {
        if let Some(notes) = self.rehearsal_notes() {
            notes.with(|notes| {
                if notes.len() < MAX_NOTES {
                    notes.push((position, note));
                }
            });
        }
    }

    /// Notes what a layer would do.
    pub fn would(&self, what: impl Into<Box<str>>) {
        self.note(Note::Would(what.into()));
    }

    /// Notes the answer that came back to a position.
    pub fn note_response<B>(&self, position: u32, response: &Response<B>) {
        let headers = Box::new(response.headers().clone());
        self.note_at(position, Note::Response(response.status(), headers));
    }

    /// What has been noted so far, in order, each with how many middlewares had passed the request on.
    pub fn notes(&self) -> Vec<(u32, Note)> {
        let notes = self.rehearsal_notes();
        notes.map_or_else(Vec::new, |notes| notes.with(|notes| notes.clone()))
    }
}
