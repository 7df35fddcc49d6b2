//! Keys that somebody else publishes, and changes: a JWK Set behind a URL.

mod fetch;
mod status;

use super::judge::Patience;
use super::key::KeySet;
use super::refusal::Refusal;
use crate::error::{BoxError, Chain};
use arc_swap::{ArcSwapOption, Guard};
use axum::body::Body;
use bytes::Bytes;
use fetch::{FetchError, Fetched};
use http::{Request, Response, Uri};
use status::Status;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

pub use fetch::MAX_JWKS_BYTES;

/// However short a time a server lets its keys be kept (`max-age`), they are kept for this long.
const MIN_LIFETIME: Duration = Duration::from_secs(30);

/// The most requests that wait for keys at a time.
const MAX_WAITING: usize = 1024;

/// How keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwksSettings {
    /// How old keys may become before they are fetched again: 10 minutes. Where the server says that it is less
    /// (`Cache-Control: max-age`), it is less, but not under 30 seconds.
    pub refresh: Duration,
    /// How long a fetch may take, to the end of its body, and a request wait for it: 5 seconds.
    pub timeout: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Keys that are fetched from a URL, kept, and fetched again: when they are old; and when a token names one that is
/// not among them, at most once in 5 seconds, and for one name once in 30.
///
/// Keys stay in use until there are others, however long the server is away: it is asked again every few seconds. A
/// set without a single key that verifies tokens is taken for a failure. While there has never been a set, requests
/// wait for the first fetch and no longer than it takes; where it failed they are answered 503.
///
/// There is one fetch at a time, in a task of its own, of at most [`MAX_JWKS_BYTES`] and 128 keys. Not more than 1024
/// requests wait for it; those beyond are answered 503. The URL must answer 200 itself: redirects are not followed.
///
/// Clones share the keys. Whoever has requests find them there always runs [`Jwks::upkeep`]; without it they are
/// fetched when requests need them, and those that are old are used while new ones are on their way.
#[derive(Clone)]
pub struct Jwks {
    shared: Arc<Shared>,
}

type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

struct Shared {
    client: Client,
    url: Uri,
    settings: JwksSettings,
    keys: ArcSwapOption<KeySet>,
    born: Instant,
    /// When the next fetch is due, in milliseconds since `born`. Never, while there is one.
    due: AtomicU64,
    status: Mutex<Status>,
    /// Tells of each fetch that is over.
    landed: watch::Sender<()>,
    waiting: Arc<Semaphore>,
    hasher: foldhash::fast::RandomState,
}

impl Jwks {
    /// Fetches keys from `url` through `client`, any Tower service that does HTTP.
    pub fn new<C, B>(client: C, url: Uri, settings: JwksSettings) -> Self
    where
        C: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let client = client
            .map_response(|response: Response<B>| response.map(Body::new))
            .map_err(Into::into);
        let shared = Shared {
            client: BoxCloneSyncService::new(client),
            url,
            settings,
            keys: ArcSwapOption::empty(),
            born: Instant::now(),
            due: AtomicU64::new(0),
            status: Mutex::default(),
            landed: watch::channel(()).0,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            hasher: foldhash::fast::RandomState::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Has the keys fetched at once and whenever they are old, until the last clone of this is gone. To be run by
    /// whoever made it, on a tokio runtime.
    pub fn upkeep(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        let mut landed = self.shared.landed.subscribe();
        async move {
            loop {
                let Some(due) = shared.upgrade().map(|shared| shared.refresh()) else {
                    return;
                };
                let change = match due {
                    Some(due) => tokio::time::timeout_at(due, landed.changed()).await,
                    None => Ok(landed.changed().await),
                };
                if let Ok(Err(_)) = change {
                    return;
                }
            }
        }
    }

    /// The keys, once there are any.
    pub(super) fn keys(&self, patience: Patience) -> Guard<Option<Arc<KeySet>>> {
        if patience != Patience::Looks && self.shared.is_due() {
            self.shared.refresh();
        }
        self.shared.keys.load()
    }

    /// What to wait for while there have never been keys; none where that would be in vain.
    pub(super) fn first(&self) -> Option<Landing> {
        let mut status = self.shared.status();
        let is_due = !status.is_fetching && self.shared.is_due();
        let flight = is_due.then(|| self.shared.flight(&mut status));
        self.landing(status, flight)
    }

    /// What to wait for where a token names a key that is not there, or what to say.
    pub(super) fn refetch(&self, key_id: Option<&str>) -> Result<Landing, Refusal> {
        let mut status = self.shared.status();
        status.may_ask(self.shared.hasher.hash_one(key_id))?;
        let is_new = !status.is_fetching;
        let flight = is_new.then(|| self.shared.flight(&mut status));
        self.landing(status, flight).ok_or(Refusal::Unavailable)
    }

    /// What to say of a key that is not there after it was waited for.
    pub(super) fn missing(&self, key_id: Option<&str>) -> Refusal {
        let name = self.shared.hasher.hash_one(key_id);
        self.shared.status().missed(name)
    }

    /// A place among those who wait, if there is something to wait for and a place.
    fn landing(&self, status: MutexGuard<'_, Status>, flight: Option<Flight>) -> Option<Landing> {
        let shared = &self.shared;
        let place = Arc::clone(&shared.waiting).try_acquire_owned().ok();
        // Nobody tells of the end of a fetch while the status is locked; one may just have ended.
        let is_fetching = status.is_fetching;
        let is_worth_it = is_fetching || shared.keys.load().is_some();
        let landing = place.filter(|_| is_worth_it).map(|place| {
            let mut landed = shared.landed.subscribe();
            if !is_fetching {
                landed.mark_changed();
            }
            Landing {
                landed,
                timeout: shared.settings.timeout,
                _place: place,
            }
        });
        drop(status);
        if let Some(flight) = flight {
            flight.launch();
        }
        landing
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &self.shared.url)
            .field("settings", &self.shared.settings)
            .field("keys", &self.shared.keys.load())
            .finish_non_exhaustive()
    }
}

/// The end of a fetch, to be waited for.
pub(super) struct Landing {
    landed: watch::Receiver<()>,
    timeout: Duration,
    _place: OwnedSemaphorePermit,
}

impl Landing {
    pub(super) async fn wait(mut self) {
        let _ = tokio::time::timeout(self.timeout, self.landed.changed()).await;
    }
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }

    fn is_due(&self) -> bool {
        self.now() >= self.due.load(Ordering::Relaxed)
    }

    /// Begins a fetch if one is due, and says when the next is; none while there is one.
    fn refresh(self: &Arc<Self>) -> Option<Instant> {
        let mut status = self.status();
        if !status.is_fetching && self.is_due() {
            let flight = self.flight(&mut status);
            drop(status);
            flight.launch();
            return None;
        }
        let due = Duration::from_millis(self.due.load(Ordering::Relaxed));
        (!status.is_fetching).then(|| self.born + due)
    }

    /// The one fetch that there is, to be launched when the status is no longer locked.
    fn flight(self: &Arc<Self>, status: &mut Status) -> Flight {
        status.is_fetching = true;
        self.due.store(u64::MAX, Ordering::Relaxed);
        Flight {
            shared: Arc::clone(self),
            outcome: None,
        }
    }

    fn land(&self, outcome: Result<Fetched, FetchError>) {
        let mut status = self.status();
        let wait = match outcome {
            Ok(Fetched { keys, max_age }) => {
                self.keys.store(Some(Arc::new(keys)));
                if status.succeeded() {
                    tracing::info!(url = %Shown(&self.url), "keys can be fetched again");
                }
                let refresh = self.settings.refresh;
                max_age.map_or(refresh, |age| age.max(MIN_LIFETIME).min(refresh))
            }
            Err(error) => {
                let (is_first, wait) = status.failed();
                if is_first {
                    let has_keys = self.keys.load().is_some();
                    tracing::warn!(url = %Shown(&self.url), error = %Chain(&error), has_keys, "keys could not be fetched");
                }
                wait
            }
        };
        // Many gateways that began together do not ask together.
        let wait = wait.mul_f64(0.9 + 0.1 * fastrand::f64());
        let due = self.now().saturating_add(millis(wait));
        self.due.store(due, Ordering::Relaxed);
        status.is_fetching = false;
        drop(status);
        self.landed.send_replace(());
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A fetch on its way. However it ends, those who wait are told.
struct Flight {
    shared: Arc<Shared>,
    outcome: Option<Result<Fetched, FetchError>>,
}

impl Flight {
    fn launch(self) {
        // Without a runtime it has failed, and is tried again like any other.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(self.fly());
        }
    }

    async fn fly(mut self) {
        let Shared {
            client,
            url,
            settings,
            ..
        } = &*self.shared;
        let fetched = fetch::fetch(client.clone(), url.clone());
        let fetched = tokio::time::timeout(settings.timeout, fetched).await;
        self.outcome = Some(fetched.unwrap_or(Err(FetchError::Timeout)));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        self.shared
            .land(outcome.unwrap_or(Err(FetchError::Aborted)));
    }
}

/// A URL without its query, for logs.
struct Shown<'u>(&'u Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "{authority}{}", self.0.path())
    }
}
