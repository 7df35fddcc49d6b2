//! Passive health: a server that fails unlike its peers is left alone for a while.
//!
//! ```
//! use a3s_layers::balance::{Balance, Member, Strategy};
//! use a3s_layers::endpoint::{Endpoint, PlaceLayer};
//! use a3s_layers::outlier::{Outlier, OutlierSettings};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let member = |id: &'static str, status: u16| Member {
//!     endpoint: Endpoint::new(id),
//!     weight: 1,
//!     service: PlaceLayer::new().layer(service_fn(move |_: Request<Body>| async move {
//!         let answer = Response::builder().status(status).body(Body::empty());
//!         answer.map_err(BoxError::from)
//!     })),
//! };
//! let members = vec![member("sick", 500), member("well", 200)];
//! let outlier = Outlier::new("backend");
//! let peers = members.iter().map(|member| (member.endpoint.clone(), member.weight));
//! outlier.watch(OutlierSettings::default(), peers);
//! let sick = members[0].endpoint.clone();
//! let balance = Balance::new(Strategy::RoundRobin, members);
//! for _ in 0..20 {
//!     let answer = balance.clone().oneshot(Request::new(Body::empty())).await.unwrap();
//!     answer.into_body().collect().await.unwrap();
//! }
//! assert_eq!(sick.standing().as_str(), "ejected");
//! assert_eq!(sick.requests(), 5);
//! # });
//! ```

use crate::endpoint::{Endpoint, Fault, Trouble};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a server is ejected, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierSettings {
    /// The errors in a row that have a server ejected, up to 1023; 0 never does.
    pub consecutive_errors: u32,
    /// The time in which they must fall, to the millisecond: a row that lasts longer begins anew.
    pub window: Duration,
    /// How long the first ejection is, at least a millisecond; the second in a row is twice as long, and so on.
    pub ejection: Duration,
    /// The longest that an ejection may become; no shorter than the first one, whatever it says.
    pub max_ejection: Duration,
    /// The most of the servers with a weight that are ejected at a time, 0 to 100, rounded down.
    pub max_ejected_percent: u8,
}

impl Default for OutlierSettings {
    /// 5 errors in a row within 10 s, for 30 s to 5 minutes, half of the servers. Envoy's, but for the window, which
    /// it does not have, and the share, which is a tenth there.
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            window: Duration::from_secs(10),
            ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected_percent: 50,
        }
    }
}

/// Watches the servers of one pool for one that fails unlike the others, in the manner of Envoy's outlier detection
/// (its `consecutive_5xx` with the times of `base_ejection_time` and `max_ejection_time`).
///
/// **What counts.** An error is an answer that is a [failure](crate::classify::Verdict::of), or ends as one in the
/// trailers of gRPC, a connection that did not come to be, none or no more of an answer because of a reset, and no
/// answer in time. A good answer is one that was read to its end. A client that went away, one whose own body failed,
/// and a stream that has nothing to say for a while count neither way, nor does what began before the server's last
/// ejection.
///
/// **Who is ejected.** A server with so many errors in a row, unless
///
/// - no other one takes requests: the last one is never ejected, nor is the only one;
/// - as many are as may be: the share is of the servers with a weight, so that 50 % is none of one, one of two or
///   three, and two of four;
/// - its peers fail alike. A request that every server answers with 500 says nothing of a server, and a client that
///   sends many of them ejects none. Alike is who has failed at least half as large a share of its last answers, some
///   thirty to sixty of them; where more than half of the peers are alike, the server is no outlier. A connection that does
///   not come to be no request can have caused: it is the server's own fault, unless no other can be reached either.
///
/// A server that is not ejected in spite of its errors needs as many again to be looked at anew.
///
/// **For how long.** The first ejection is as long as set, the second one twice as long, and so on up to the longest;
/// for each time of the first one's length that the server then stands without another, one is taken off. It is back
/// when that time is over, or earlier when somebody [clears](Endpoint::clear) [`Trouble::Ejected`], as a health check
/// may; and also when so few others are left that it may not be ejected any more. Then it has to fail as often as
/// before to be ejected again.
///
/// A good answer costs one relaxed load, of a server without errors. There is no task and no timer: whoever looks
/// whether a server takes requests ends an ejection that is over. A lock is taken where somebody is to be ejected.
#[derive(Debug)]
pub struct Outlier {
    name: Box<str>,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    settings: OutlierSettings,
    members: Vec<(Arc<Endpoint>, u32)>,
}

impl Outlier {
    /// Watches nobody yet. The log calls the pool `name`.
    pub fn new(name: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            pool: Mutex::default(),
        })
    }

    /// The one that watches one of these already.
    pub fn of<'e>(endpoints: impl IntoIterator<Item = &'e Arc<Endpoint>>) -> Option<Arc<Self>> {
        endpoints.into_iter().find_map(|each| each.detector())
    }

    /// What the log calls the pool.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on watches these servers, each with its weight, and no others. Those that were watched before stand
    /// as they did; if more are ejected than may be now, those return whose ejection ends first.
    ///
    /// A server is watched by one detector at a time: the last one that was told of it.
    pub fn watch(
        self: &Arc<Self>,
        settings: OutlierSettings,
        members: impl IntoIterator<Item = (Arc<Endpoint>, u32)>,
    ) {
        let mut pool = self.lock();
        pool.members = members.into_iter().collect();
        for (endpoint, _) in &pool.members {
            endpoint.watch(self, settings.consecutive_errors, settings.window);
        }
        pool.settings = settings;
        pool.relent();
    }

    /// A server has failed too often. Somebody else may have judged by the same errors just before.
    pub(crate) fn judge(&self, endpoint: &Endpoint, fault: Fault, began: u64) {
        let pool = self.lock();
        if endpoint.has(Trouble::Ejected) || endpoint.ejections() != began {
            return;
        }
        let Some(errors) = endpoint.too_many_errors() else {
            return;
        };
        let (service, server) = (self.name(), endpoint.id());
        if let Err(reason) = pool.may_eject(endpoint, fault) {
            endpoint.forgive();
            drop(pool);
            tracing::debug!(
                service,
                server,
                reason,
                "a server that fails is not ejected"
            );
            return;
        }
        let why = format!("{errors} errors in a row, the last: {fault}");
        let (first, most) = (pool.settings.ejection, pool.settings.max_ejection);
        let time = endpoint.eject(why.clone(), first, most.max(first));
        drop(pool);
        tracing::warn!(service, server, ?time, "a server is ejected: {why}");
    }

    /// Somebody takes no requests any more: it may be one of the ejected that is needed now.
    pub(crate) fn relent(&self) {
        self.lock().relent();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn weighted(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let weighted = self.members.iter().filter(|(_, weight)| *weight > 0);
        weighted.map(|(endpoint, _)| endpoint)
    }

    fn ejected(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let weighted = self.weighted();
        weighted.filter(|endpoint| endpoint.has(Trouble::Ejected))
    }

    /// How many may be ejected at a time.
    fn limit(&self) -> usize {
        match self.settings.consecutive_errors {
            0 => 0,
            _ => self.weighted().count() * usize::from(self.settings.max_ejected_percent) / 100,
        }
    }

    fn may_eject(&self, endpoint: &Endpoint, fault: Fault) -> Result<(), &'static str> {
        let is_it = |each: &Arc<Endpoint>| std::ptr::eq(&**each, endpoint);
        if !self.members.iter().any(|(each, _)| is_it(each)) {
            return Err("it has left the pool");
        }
        let share = endpoint.share_of_errors();
        let is_of_connecting = fault.is_of_connecting();
        let (mut peers, mut alike) = (0, 0);
        for peer in self.weighted() {
            if !is_it(peer) && peer.takes_new() {
                peers += 1;
                alike += usize::from(match is_of_connecting {
                    true => peer.is_out_of_reach(),
                    false => peer.share_of_errors().is_like(share),
                });
            }
        }
        let is_weighted = self.weighted().any(is_it);
        if peers == 0 {
            Err("no other server takes requests")
        } else if is_weighted && self.ejected().count() >= self.limit() {
            Err("as many are ejected as may be")
        } else if match is_of_connecting {
            true => alike == peers,
            false => 2 * alike > peers,
        } {
            Err("the others fail alike")
        } else {
            Ok(())
        }
    }

    /// Lets servers return that may be ejected no more.
    fn relent(&self) {
        loop {
            let is_over = self.ejected().count() > self.limit();
            let is_empty = || !self.weighted().any(|endpoint| endpoint.takes_new());
            if !is_over && !is_empty() {
                return;
            }
            let ejected = self
                .ejected()
                .filter(|each| is_over || each.is_but_ejected());
            let rest = |each: &&Arc<Endpoint>| each.rest_of_ejection().unwrap_or(Duration::MAX);
            let Some(first) = ejected.min_by_key(rest) else {
                return;
            };
            first.clear(Trouble::Ejected);
        }
    }
}
