//! Spreads requests over the revisions of a service, each a balance of its own, by shares that can be moved while it
//! runs.
//!
//! It is our own as tower has none that is weighted: `steer` asks a function, and `balance` goes by load.
//!
//! ```
//! use a3s_layers::balance::{Balance, Member, Strategy};
//! use a3s_layers::endpoint::{Endpoint, Placed};
//! use a3s_layers::split::{Revision, Shares, Split};
//! use std::sync::Arc;
//! use tower::{ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let revision = |name: &'static str| {
//!     let member = Member {
//!         endpoint: Endpoint::new(name),
//!         weight: 1,
//!         service: service_fn(move |_: Placed<()>| async move { Ok::<_, tower::BoxError>(name) }),
//!     };
//!     let balance = Balance::new(Strategy::RoundRobin, vec![member]);
//!     Revision {
//!         name: name.into(),
//!         cluster: Arc::new(balance.clone()),
//!         token: None,
//!         service: balance,
//!     }
//! };
//! let shares = Shares::new(&[75, 25]);
//! let split = Split::new(&shares, vec![revision("blue"), revision("green")]);
//! let mut answers = Vec::new();
//! for _ in 0..4 {
//!     answers.push(split.clone().oneshot(()).await.unwrap());
//! }
//! assert_eq!(answers, ["blue", "blue", "blue", "green"]);
//! shares.set(&[0, 100]);
//! assert_eq!(split.oneshot(()).await.unwrap(), "green");
//! # });
//! ```

mod shares;

pub use shares::Shares;

use crate::balance::sticky::{Affinity, Token};
use crate::balance::{Balanced, Cluster, Standing};
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Failure, UpstreamError};
use crate::journal::Journal;
use crate::rehearsal::Note;
use crate::tried::Tried;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;
use tower::util::{Oneshot, ServiceExt};

/// One revision of a [`Split`].
#[derive(Clone)]
pub struct Revision<S> {
    /// What it is called.
    pub name: Arc<str>,
    /// Its servers.
    pub cluster: Arc<dyn Cluster>,
    /// What sessions name it by, where they are kept at a revision and not at a server.
    pub token: Option<Token>,
    /// The stack that leads to its servers.
    pub service: S,
}

impl<S> fmt::Debug for Revision<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revision")
            .field("name", &self.name)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Revisions of one service. Clones share them and their turns.
///
/// It is always ready. A request goes
///
/// 1. where its session is: to the revision whose token it shows, or that has the server whose token it shows;
/// 2. if it was tried before ([`Tried`]), to the revision of the last try, as long as that has another server;
/// 3. if the server of its session takes none, to another one of the same revision, unless that has a share of 0;
/// 4. by turn: any 100 turns have what the shares say, where those sum up to 100, and in any turns in a row no revision
///    has two more or two less than its part of them.
///
/// A revision where nobody takes requests is left out, and the others have its turns in proportion to their shares. One
/// with a share of 0 gets only what has its session there. Where nobody is left, the revision whose turn it is says why.
#[derive(Debug)]
pub struct Split<S> {
    shares: Arc<Shares>,
    revisions: Arc<[Revision<S>]>,
}

impl<S> Split<S> {
    /// Spreads requests over `revisions`; each has the share of its place in the list.
    pub fn new(shares: &Arc<Shares>, revisions: Vec<Revision<S>>) -> Self {
        Self {
            shares: Arc::clone(shares),
            revisions: revisions.into(),
        }
    }

    fn choose(&self, request: &impl Balanced) -> Option<&Revision<S>> {
        if let Some(journal) = request.rehearsed() {
            return self.rehearse(request.affinity(), &journal);
        }
        let tried = request.tried().map(Tried::endpoints);
        let tried = tried.as_deref().map_or(&[][..], Vec::as_slice);
        let takes = |revision: &&Revision<S>| revision.cluster.takes(tried);
        let session = request
            .affinity()
            .map(|affinity| self.session(affinity, tried));
        let (here, away) = session.unwrap_or_default();
        let of_last_try = || {
            let last = tried.last()?;
            let mut revisions = self.revisions.iter();
            revisions.find(|revision| revision.cluster.has(last) && takes(revision))
        };
        let by_turn = |takes: &dyn Fn(&&Revision<S>) -> bool| {
            let index = self
                .shares
                .next(|index| self.revisions.get(index).is_some_and(|it| takes(&it)));
            self.revisions.get(index?)
        };
        here.or_else(of_last_try)
            .or_else(|| away.filter(takes))
            .or_else(|| by_turn(&takes))
            .or_else(|| match tried {
                [] => None,
                _ => by_turn(&|revision| revision.cluster.takes(&[])),
            })
            .or_else(|| by_turn(&|_| true))
    }

    /// Says what each may get, and goes on to the one that gets the most, or where the session is.
    fn rehearse(&self, affinity: Option<&Affinity>, journal: &Journal) -> Option<&Revision<S>> {
        for (index, revision) in self.revisions.iter().enumerate() {
            let candidates = revision.cluster.candidates(affinity);
            let share = self.shares.of(index);
            journal.note(Note::Revision(
                Arc::clone(&revision.name),
                share,
                candidates,
            ));
        }
        let session = affinity.map(|affinity| self.session(affinity, &[]));
        let (here, away) = session.unwrap_or_default();
        let takes = |revision: &&Revision<S>| revision.cluster.takes(&[]);
        let open = (self.revisions.iter().enumerate())
            .filter(|(index, revision)| self.shares.of(*index) > 0 && takes(revision));
        // The first of those that get as much.
        let most = open.rev().max_by_key(|(index, _)| self.shares.of(*index));
        here.or_else(|| away.filter(takes))
            .or(most.map(|(_, revision)| revision))
            .or(self.revisions.first())
    }

    /// Where a session is kept, and where else it is at home.
    fn session(
        &self,
        affinity: &Affinity,
        tried: &[Arc<Endpoint>],
    ) -> (Option<&Revision<S>>, Option<&Revision<S>>) {
        let mut away = None;
        for (index, revision) in self.revisions.iter().enumerate() {
            let is_named = |token| affinity.tokens().any(|shown| shown == token);
            let standing = match revision.token {
                Some(token) if !is_named(token) => Standing::Unknown,
                Some(_) if revision.cluster.takes(tried) => Standing::Here,
                Some(_) => Standing::Away,
                None => revision.cluster.standing(affinity, tried),
            };
            match standing {
                Standing::Here => return (Some(revision), None),
                Standing::Away if self.shares.of(index) > 0 => away = away.or(Some(revision)),
                Standing::Away | Standing::Unknown => {}
            }
        }
        (None, away)
    }
}

impl<S> Clone for Split<S> {
    fn clone(&self) -> Self {
        Self {
            shares: Arc::clone(&self.shares),
            revisions: Arc::clone(&self.revisions),
        }
    }
}

impl<S, R> Service<R> for Split<S>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError>,
    R: Balanced,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = SplitFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let service = self.choose(&request).map(|chosen| chosen.service.clone());
        SplitFuture {
            inner: service.map(|service| service.oneshot(request)),
        }
    }
}

pin_project! {
    /// The future of [`Split`].
    pub struct SplitFuture<S: Service<R>, R> {
        #[pin]
        inner: Option<Oneshot<S, R>>,
    }
}

impl<S, R> Future for SplitFuture<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(chosen) => chosen.poll(cx).map_err(Into::into),
            None => Poll::Ready(Err(UpstreamError::from(Failure::Unavailable).into())),
        }
    }
}
