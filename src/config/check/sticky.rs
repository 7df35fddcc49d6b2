//! Sessions: cookies that browsers keep, and what they are kept at.

use super::Check;
use super::place::{Key, keys};
use super::protocols::{kind, mixed};
use crate::config::code::Code;
use crate::config::diagnostic::Problem;
use crate::config::{ServiceConfig, StickyConfig, StickyTo};
use crate::rule::Protocol;
use a3s_layers::balance::sticky::CookieError;

/// The shortest secret that is not guessed.
const SECRET: usize = 16;

impl Check<'_> {
    pub(super) fn sticky(&mut self, name: &str, service: &ServiceConfig, sticky: &StickyConfig) {
        let here = keys!["services", name, "load_balancer", "sticky"];
        let place = |key| here.into_iter().chain([Key::Name(key)]).collect::<Vec<_>>();
        for error in sticky.cookie().errors() {
            let key = match error {
                CookieError::Name
                | CookieError::NameNeedsSecure(_)
                | CookieError::NameNeedsRoot(_)
                | CookieError::NameNeedsHttpOnly(_) => "cookie",
                CookieError::SameSite => "same_site",
                CookieError::Path => "path",
                // It is told with the other ranges.
                CookieError::Ttl => continue,
            };
            let code = match error {
                CookieError::Name | CookieError::Path => Code::InvalidValue,
                _ => Code::Choice,
            };
            self.report(&place(key), Problem::new(code, error.to_string()));
        }
        if let Some(secret) = &sticky.secret {
            let problem = match secret.expose().len() {
                0 => Some(Problem::new(Code::InvalidValue, "the secret is empty")),
                1..SECRET => {
                    let message = format!("a secret of fewer than {SECRET} bytes can be guessed");
                    let help = "make one with `openssl rand -base64 24`".to_owned();
                    Some(Problem::new(Code::WeakSecret, message).help(help))
                }
                _ => None,
            };
            if let Some(problem) = problem {
                self.report(&place("secret"), problem);
            }
        }
        let revisions = keys!["services", name, "revisions"];
        let has_revisions = !service.revisions.is_empty() || !self.is_read(&revisions);
        if sticky.to == StickyTo::Revision && !has_revisions {
            let message = format!("service `{name}` has no revisions to keep a session at");
            self.report(&place("to"), Problem::new(Code::Choice, message));
        }
        if service.protocol() != Protocol::Http {
            let takes = kind(service.protocol());
            let message = format!("`sticky` is for requests, and the servers are for {takes}");
            self.report(&here, mixed(message));
        }
    }
}
