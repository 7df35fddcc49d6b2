//! Spreads requests over the members of a pool. It picks in `call`, because the request may decide.
//!
//! It is our own beside `tower::balance`, which cannot be cloned, knows no weights, and chooses before
//! it has seen the request.
//!
//! ```
//! use a3s_layers::balance::{Balance, Member, Strategy};
//! use a3s_layers::endpoint::{Endpoint, Placed};
//! use tower::{ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let member = |name: &'static str| Member {
//!     endpoint: Endpoint::new(name),
//!     weight: 1,
//!     service: service_fn(move |_: Placed<()>| async move { Ok::<_, tower::BoxError>(name) }),
//! };
//! let balance = Balance::new(Strategy::RoundRobin, vec![member("a"), member("b")]);
//! let first = balance.clone().oneshot(()).await.unwrap();
//! let second = balance.clone().oneshot(()).await.unwrap();
//! assert_ne!(first, second);
//! # });
//! ```

mod cluster;
mod hash_on;
mod lots;
mod maglev;
mod moment;
mod rules;
pub mod sticky;
mod strategy;
mod turns;

pub use cluster::{Cluster, Standing};
pub use hash_on::{HashOn, UnknownHashOn};
pub use rules::{Rules, Strategy};

use crate::endpoint::{Endpoint, InFlight, Placed, Trouble, changes};
use crate::error::{BoxError, Failure, UpstreamError};
use crate::journal::Journal;
use crate::rehearsal::{Candidate, Choice, MAX_CANDIDATES, Note};
use crate::tried::Tried;
use arc_swap::ArcSwap;
use moment::Moment;
use pin_project_lite::pin_project;
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use sticky::{Affinity, Sessions, Token, Tokens};
use strategy::Picker;
use tower::Service;
use tower::util::{Oneshot, ServiceExt};

/// What a [`Balance`] asks a request: an HTTP request knows by its extensions, anything else if it says so.
pub trait Balanced {
    /// Where it has been sent before, if it may be sent again.
    fn tried(&self) -> Option<&Tried> {
        None
    }

    /// Which server it belongs to, if to one.
    fn affinity(&self) -> Option<&Affinity> {
        None
    }

    /// The hash of what decides where it goes under [`Strategy::ConsistentHash`], if it has such a thing.
    fn hash_of(&self, _on: &HashOn) -> Option<u64> {
        None
    }

    /// The journal of its [rehearsal](crate::rehearsal), if it is one.
    fn rehearsed(&self) -> Option<Journal> {
        None
    }
}

impl<B> Balanced for http::Request<B> {
    fn tried(&self) -> Option<&Tried> {
        self.extensions().get()
    }

    fn affinity(&self) -> Option<&Affinity> {
        self.extensions().get()
    }

    fn hash_of(&self, on: &HashOn) -> Option<u64> {
        on.hash_of(self)
    }

    fn rehearsed(&self) -> Option<Journal> {
        Journal::rehearsed(self)
    }
}

impl Balanced for () {}

/// One server of a balance.
#[derive(Debug, Clone)]
pub struct Member<S> {
    /// Its handle, which knows how it stands.
    pub endpoint: Arc<Endpoint>,
    /// Its share of the traffic, 0 to 65535; 0 takes none but what is its own.
    pub weight: u32,
    /// The stack that leads to it.
    pub service: S,
}

/// A pool of servers as one service. Clones share the pool and its state.
///
/// It is always ready. A member gets a request only while [nothing is wrong](Endpoint::takes_new) with its endpoint
/// and it has room; where there is none, the balance fails with [`Failure::Unavailable`], or with
/// [`Failure::Overloaded`] if it is only room that is lacking. A request that says where it has been tried ([`Tried`])
/// goes to another member, whatever the strategy, as long as there is one; if all were tried, to any.
///
/// Where its members have tokens ([`Balance::sticky`]), a request that shows one ([`Affinity`]) goes to the member that
/// it names, drained or of weight 0 as it may be, as long as that is [available](Endpoint::is_available), has room and
/// was not tried. Otherwise it is picked for as any other.
#[derive(Debug)]
pub struct Balance<S> {
    pool: Arc<Pool<S>>,
}

#[derive(Debug)]
struct Pool<S> {
    rules: Rules,
    tokens: Option<Tokens>,
    members: ArcSwap<Members<S>>,
}

#[derive(Debug)]
struct Members<S> {
    list: Box<[Member<S>]>,
    picker: Picker,
    sessions: Sessions,
    /// How many changes of servers there had been when enough of them were last seen to be available.
    calm: AtomicU64,
}

impl<S> Members<S> {
    fn new(strategy: &Strategy, tokens: Option<&Tokens>, list: Vec<Member<S>>) -> Arc<Self> {
        Arc::new(Self {
            picker: Picker::new(strategy, &list),
            sessions: Sessions::new(tokens, &list),
            list: list.into(),
            calm: AtomicU64::new(u64::MAX),
        })
    }

    /// Whether so few of those with a weight are available that it is better to believe that all are. While enough are,
    /// they are counted once after each change of some server, and not for each request: without a change there are
    /// only more of them, as ejections end.
    fn panics(&self, threshold: usize) -> bool {
        let seen = changes();
        if threshold == 0 || self.calm.load(Ordering::Relaxed) == seen {
            return false;
        }
        let is_panic = self.are_below(threshold);
        if !is_panic {
            self.calm.store(seen, Ordering::Relaxed);
        }
        is_panic
    }

    fn are_below(&self, threshold: usize) -> bool {
        let weighted = self.list.iter().filter(|member| member.weight > 0);
        let (mut all, mut available) = (0, 0);
        for member in weighted {
            all += 1;
            available += usize::from(member.endpoint.is_available());
        }
        available * 100 < threshold * all
    }
}

impl<S> Balance<S> {
    /// Spreads requests over `members` by a strategy, or by [`Rules`] that say more.
    pub fn new(rules: impl Into<Rules>, members: Vec<Member<S>>) -> Self {
        let rules = rules.into();
        Self {
            pool: Arc::new(Pool {
                members: ArcSwap::new(Members::new(&rules.strategy, None, members)),
                tokens: None,
                rules,
            }),
        }
    }

    /// Keeps the requests of a session at one member: the one whose token they show. The tokens are made when the
    /// members change.
    #[must_use]
    pub fn sticky(self, tokens: impl Fn(&Endpoint) -> Token + Send + Sync + 'static) -> Self
    where
        S: Clone,
    {
        let Pool { rules, members, .. } = &*self.pool;
        let tokens = Some(Tokens::new(tokens));
        let list = members.load().list.to_vec();
        Self {
            pool: Arc::new(Pool {
                members: ArcSwap::new(Members::new(&rules.strategy, tokens.as_ref(), list)),
                rules: rules.clone(),
                tokens,
            }),
        }
    }

    /// Goes on with these members. Requests under way end where they are; for a member whose endpoint is new to a
    /// balance that had others, a slow start begins.
    pub fn set_members(&self, members: Vec<Member<S>>) {
        let before = self.pool.members.load();
        let known: HashSet<_> = (before.list.iter())
            .map(|member| Arc::as_ptr(&member.endpoint))
            .collect();
        let is_new = |member: &&Member<S>| !known.contains(&Arc::as_ptr(&member.endpoint));
        if !known.is_empty() {
            for member in members.iter().filter(is_new) {
                member.endpoint.begin();
            }
        }
        let Pool { rules, tokens, .. } = &*self.pool;
        let members = Members::new(&rules.strategy, tokens.as_ref(), members);
        self.pool.members.store(members);
    }
}

impl<S> Members<S> {
    /// Who takes requests that could go elsewhere.
    fn is_open(&self, rules: &Rules) -> impl Fn(&Endpoint) -> bool + use<S> {
        let is_panic = self.panics(rules.panic_threshold_percent.into());
        move |endpoint| match is_panic {
            true => !endpoint.has(Trouble::Drained),
            false => endpoint.takes_new(),
        }
    }
}

fn is_new(endpoint: &Arc<Endpoint>, tried: &[Arc<Endpoint>]) -> bool {
    !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
}

impl<S: Clone> Pool<S> {
    fn pick(&self, request: &impl Balanced) -> Result<(S, InFlight), Failure> {
        if let Some(journal) = request.rehearsed() {
            return self.rehearse(request, &journal);
        }
        let members = self.members.load();
        let moment = Moment::new(&self.rules, request);
        let is_open = members.is_open(&self.rules);
        let mut tried = request.tried().map(Tried::endpoints);
        let before = tried.as_deref().map_or(&[][..], Vec::as_slice);
        let picked = members
            .of_session(request.affinity(), before, &is_open)
            .or_else(|| {
                members.pick(&moment, |endpoint| {
                    is_open(endpoint) && is_new(endpoint, before)
                })
            });
        let picked = match before {
            [] => picked,
            _ => picked.or_else(|| members.pick(&moment, |endpoint| is_open(endpoint))),
        };
        if let (Some((_, place)), Some(tried)) = (&picked, &mut tried)
            && is_new(place.endpoint(), tried)
        {
            tried.push(Arc::clone(place.endpoint()));
        }
        if let (Some(course), Some(tried)) = (request.tried(), &tried) {
            course.note_others(members.has_others(tried, &is_open));
        }
        picked.ok_or_else(|| members.why_nobody(&is_open))
    }

    /// Says who may be picked, and goes on to one of them: in the name of the server, and with nothing of its own.
    fn rehearse(
        &self,
        request: &impl Balanced,
        journal: &Journal,
    ) -> Result<(S, InFlight), Failure> {
        let members = self.members.load();
        let is_open = members.is_open(&self.rules);
        let mut candidates = members.candidates(request.affinity(), &is_open);
        let moment = Moment::new(&self.rules, request);
        let is_kept = candidates.iter().any(|it| it.choice == Choice::Certain);
        // By its hash it goes to one of them, whoever asks and however often.
        if let (Picker::Hash(_), false) = (&members.picker, is_kept) {
            let picked = members.picker.pick(&members.list, &moment, |endpoint| {
                is_open(endpoint) && endpoint.has_room()
            });
            for (index, candidate) in candidates.iter_mut().enumerate() {
                match candidate.choice {
                    Choice::Possible if picked == Some(index) => candidate.choice = Choice::Certain,
                    Choice::Possible => candidate.choice = Choice::Passed,
                    _ => {}
                }
            }
        }
        let of = |choice| candidates.iter().position(|it| it.choice == choice);
        let chosen = of(Choice::Certain).or_else(|| of(Choice::Possible));
        candidates.truncate(MAX_CANDIDATES);
        journal.note(Note::Servers(candidates));
        let member = &members.list[chosen.ok_or_else(|| members.why_nobody(&is_open))?];
        let stand_in = Endpoint::new(member.endpoint.id());
        Ok((member.service.clone(), stand_in.enter()))
    }
}

impl<S> Members<S> {
    fn why_nobody(&self, is_open: impl Fn(&Endpoint) -> bool) -> Failure {
        let mut weighted = self.list.iter().filter(|member| member.weight > 0);
        match weighted.any(|member| is_open(&member.endpoint)) {
            true => Failure::Overloaded,
            false => Failure::Unavailable,
        }
    }

    /// Each member, and whether it may be picked. Where one of them has the session, nobody else is.
    fn candidates(
        &self,
        affinity: Option<&Affinity>,
        is_open: impl Fn(&Endpoint) -> bool,
    ) -> Vec<Candidate> {
        let mut own = affinity.into_iter().flat_map(|it| self.sessions.of(it));
        let own = own.find(|index| {
            let endpoint = &self.list[*index].endpoint;
            (is_open(endpoint) || endpoint.is_available()) && endpoint.has_room()
        });
        let choice = |index: usize, member: &Member<S>| match &member.endpoint {
            _ if own == Some(index) => Choice::Certain,
            endpoint if !is_open(endpoint) => Choice::Troubled,
            endpoint if !endpoint.has_room() => Choice::Full,
            _ if member.weight == 0 => Choice::Weightless,
            _ if own.is_some() => Choice::Passed,
            _ => Choice::Possible,
        };
        let members = self.list.iter().enumerate();
        let candidates = members.map(|(index, member)| Candidate {
            endpoint: Arc::clone(&member.endpoint),
            weight: member.weight,
            choice: choice(index, member),
        });
        candidates.collect()
    }
}

impl<S: Clone> Members<S> {
    /// Whether there is a member to pick that is not among those that were tried.
    fn has_others(&self, tried: &[Arc<Endpoint>], is_open: impl Fn(&Endpoint) -> bool) -> bool {
        let mut weighted = self.list.iter().filter(|member| member.weight > 0);
        weighted.any(|Member { endpoint, .. }| {
            is_new(endpoint, tried) && is_open(endpoint) && endpoint.has_room()
        })
    }

    /// Takes a place at a member that is open and has room.
    fn pick(
        &self,
        moment: &Moment,
        is_open: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<(S, InFlight)> {
        // Somebody else may be quicker with the last place of a member: then it has no room, and another is picked.
        for _ in 0..=self.list.len() {
            let index = self.picker.pick(&self.list, moment, |endpoint| {
                is_open(endpoint) && endpoint.has_room()
            })?;
            let member = &self.list[index];
            if let Some(place) = member.endpoint.try_enter() {
                return Some((member.service.clone(), place));
            }
        }
        None
    }

    /// Takes a place at a member that the request belongs to.
    fn of_session(
        &self,
        affinity: Option<&Affinity>,
        tried: &[Arc<Endpoint>],
        is_open: impl Fn(&Endpoint) -> bool,
    ) -> Option<(S, InFlight)> {
        let mut own = affinity.into_iter().flat_map(|it| self.sessions.of(it));
        own.find_map(|index| {
            let Member {
                endpoint, service, ..
            } = &self.list[index];
            let is_fit = is_open(endpoint) || endpoint.is_available();
            let place = (is_fit && is_new(endpoint, tried)).then(|| endpoint.try_enter())??;
            Some((service.clone(), place))
        })
    }
}

impl<S: Send + Sync> Cluster for Balance<S> {
    fn takes(&self, tried: &[Arc<Endpoint>]) -> bool {
        let members = self.pool.members.load();
        let is_open = members.is_open(&self.pool.rules);
        let mut weighted = members.list.iter().filter(|member| member.weight > 0);
        weighted.any(|Member { endpoint, .. }| {
            is_open(endpoint) && endpoint.has_room() && is_new(endpoint, tried)
        })
    }

    fn candidates(&self, affinity: Option<&Affinity>) -> Vec<Candidate> {
        let members = self.pool.members.load();
        let mut candidates = members.candidates(affinity, members.is_open(&self.pool.rules));
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }

    fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        let members = self.pool.members.load();
        let mut list = members.list.iter();
        list.any(|member| Arc::ptr_eq(&member.endpoint, endpoint))
    }

    fn standing(&self, affinity: &Affinity, tried: &[Arc<Endpoint>]) -> Standing {
        let members = self.pool.members.load();
        let is_open = members.is_open(&self.pool.rules);
        let mut standing = Standing::Unknown;
        for index in members.sessions.of(affinity) {
            let endpoint = &members.list[index].endpoint;
            let is_fit = is_open(endpoint) || endpoint.is_available();
            if is_fit && endpoint.has_room() && is_new(endpoint, tried) {
                return Standing::Here;
            }
            standing = Standing::Away;
        }
        standing
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
        }
    }
}

impl<S, R> Service<R> for Balance<S>
where
    S: Service<Placed<R>> + Clone,
    S::Error: Into<BoxError>,
    R: Balanced,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BalanceFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        BalanceFuture {
            inner: match self.pool.pick(&request) {
                Ok((service, place)) => Inner::Picked {
                    future: service.oneshot(Placed { request, place }),
                },
                Err(failure) => Inner::Nobody { failure },
            },
        }
    }
}

pin_project! {
    /// The future of [`Balance`].
    pub struct BalanceFuture<S: Service<Placed<R>>, R> {
        #[pin]
        inner: Inner<S, R>,
    }
}

pin_project! {
    #[project = InnerProjection]
    enum Inner<S: Service<Placed<R>>, R> {
        Picked { #[pin] future: Oneshot<S, Placed<R>> },
        Nobody { failure: Failure },
    }
}

impl<S, R> Future for BalanceFuture<S, R>
where
    S: Service<Placed<R>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.project() {
            InnerProjection::Picked { future } => future.poll(cx).map_err(Into::into),
            InnerProjection::Nobody { failure } => {
                Poll::Ready(Err(UpstreamError::from(*failure).into()))
            }
        }
    }
}
