//! Where a pattern sends a client, and where it must not.

use super::Unfit;
use super::url::Origin;
use crate::replacement::Replacement;
use http::Request;

/// As long as a URI can be.
const MAX_LENGTH: usize = u16::MAX as usize;

/// The URL that becomes of a request's, where the pattern matches and that is another one.
pub(super) fn replaced<B>(
    replacement: &Replacement,
    request: &Request<B>,
) -> Result<Option<String>, Unfit> {
    let origin = Origin::of(request)?;
    let old = origin.with_path(request.uri());
    let path_at = origin.text().len();
    let mut new = NewUrl {
        text: String::with_capacity(old.len() + 16),
        label_end: 0,
    };
    let is_matched = replacement.apply(&old, |piece, at| {
        match at.is_some_and(|at| at >= path_at) {
            true => new.push_of_path(piece)?,
            false => new.text.push_str(piece),
        }
        match new.text.len() {
            0..=MAX_LENGTH => Ok(()),
            _ => Err(Unfit),
        }
    })?;
    let is_other = new.text != old && new.text != old[path_at..];
    match is_matched && is_other {
        true => new.finish().map(Some),
        false => Ok(None),
    }
}

/// A URL in the making. What comes from a path or a query must not choose its host.
struct NewUrl {
    text: String,
    /// Behind the last part of the host that comes from a path.
    label_end: usize,
}

impl NewUrl {
    fn push_of_path(&mut self, piece: &str) -> Result<(), Unfit> {
        let authority = authority(&self.text);
        match (self.text.as_str(), authority) {
            _ if piece.is_empty() => {}
            // The beginning of a path: with two slashes it would be that of a host.
            ("", _) => {
                let rest = piece.trim_start_matches(['/', '\\']);
                if !piece.starts_with('/') {
                    return Err(Unfit);
                }
                self.text.push('/');
                self.text.push_str(rest);
            }
            ("/", _) => self.text.push_str(piece.trim_start_matches(['/', '\\'])),
            (_, Some("")) if piece.starts_with(['/', '?', '#']) => return Err(Unfit),
            (_, None) => self.text.push_str(piece),
            (_, Some(_)) if piece.starts_with(['/', '?', '#']) => self.text.push_str(piece),
            (_, Some(_)) if piece.bytes().all(is_of_label) => {
                self.text.push_str(piece);
                self.label_end = self.text.len();
            }
            (_, Some(_)) => return Err(Unfit),
        }
        Ok(())
    }

    /// A label may come from a path where a dot, and so a domain, follows that does not.
    fn finish(self) -> Result<String, Unfit> {
        let host_end = match self.text[self.label_end..].find(['/', '?', '#']) {
            Some(at) => self.label_end + at,
            None => self.text.len(),
        };
        let is_free = self.label_end > 0 && !self.text[self.label_end..host_end].contains('.');
        match self.text.is_empty() || is_free {
            true => Err(Unfit),
            false => Ok(self.text),
        }
    }
}

/// What there is of a host, where the text does not go beyond it yet.
fn authority(text: &str) -> Option<&str> {
    let authority = match text.split_once("://") {
        Some((_, authority)) => authority,
        None if text.starts_with('/') => text.strip_prefix("//")?,
        None => "",
    };
    (!authority.contains(['/', '?', '#'])).then_some(authority)
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
