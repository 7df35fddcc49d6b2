//! One connection to a Redis, kept and made again, on which nobody waits in vain.
//!
//! redis' own `ConnectionManager` lets requests wait while it connects again and again, and never leaves a
//! connection on which answers fail to come. This one is tried once by those who find it broken; while the
//! server is silent after that, everybody is told at once, and one task at a time tries to reach it.

use super::harmless::Harmless;
use super::script::{Count, Verdict};
use super::server::RedisServer;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// Commands on their way at a time; more wait, within their deadlines.
const MAX_COMMANDS: usize = 1024;

/// To connect, and to introduce ourselves.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between a try that failed and the next; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Between two complaints in the log.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer in time")]
    Late,
    #[error("not reached before, and not to be tried yet")]
    Down,
    #[error("connection lost: {}", Harmless(.0))]
    Lost(RedisError),
    #[error("refused: {}", Harmless(.0))]
    Refused(RedisError),
    #[error("an answer that means nothing")]
    Nonsense,
}

pub(super) struct Link {
    /// What the log calls the limit.
    name: Option<Box<str>>,
    server: RedisServer,
    state: watch::Sender<State>,
    complaints: Mutex<Complaints>,
}

enum State {
    /// Nobody has tried yet, or the connection has broken. Who comes next opens one.
    Closed,
    /// Being opened. Who comes now waits for it.
    Opening,
    Open(Connection),
    /// The server was not reached, or did not answer. Who comes before the time has no answer.
    Down {
        retry_at: Instant,
        pause: Duration,
    },
    /// One task tries again. Who comes now has no answer.
    Trying,
}

type Connection = Arc<Open>;

struct Open {
    commands: MultiplexedConnection,
    /// Reads and writes, and ends when this is dropped.
    _driver: JoinSet<()>,
}

/// When the log was last told of trouble, and whether it knows of its end.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    is_open: bool,
}

impl Link {
    /// Nothing is connected until somebody asks for something.
    pub(super) fn new(server: RedisServer) -> Self {
        Self {
            name: None,
            server,
            state: watch::Sender::new(State::Closed),
            complaints: Mutex::default(),
        }
    }

    /// Another one to the same server, with a name.
    pub(super) fn named(&self, name: &str) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::new(self.server.clone())
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Counts a request, and waits `patience` for the answer.
    pub(super) async fn count(
        self: &Arc<Self>,
        count: &Count<'_>,
        patience: Duration,
    ) -> Result<Verdict, NoAnswer> {
        let deadline = Instant::now() + patience;
        let mut is_second_try = false;
        loop {
            let connection = self.connection(deadline).await?;
            let mut commands = connection.commands.clone();
            let answer = timeout_at(deadline, count.ask(&mut commands)).await;
            match answer {
                Ok(Ok(answer)) => {
                    return count.verdict(&answer).ok_or_else(|| {
                        self.complain(&NoAnswer::Nonsense);
                        NoAnswer::Nonsense
                    });
                }
                // What comes on a connection comes in order: others will wait in vain, too.
                Err(_) => {
                    self.leave(&connection, State::down_for(Duration::ZERO));
                    self.complain(&"no answer in time");
                    return Err(NoAnswer::Late);
                }
                // A server may close what was idle: that is no outage, and at worst a request is counted twice.
                Ok(Err(error)) if is_lost(&error) && !is_second_try => {
                    self.leave(&connection, State::Closed);
                    is_second_try = true;
                }
                Ok(Err(error)) if is_lost(&error) => {
                    self.leave(&connection, State::down_for(FIRST_PAUSE));
                    self.complain(&error);
                    return Err(NoAnswer::Lost(error));
                }
                Ok(Err(error)) => {
                    self.complain(&error);
                    return Err(NoAnswer::Refused(error));
                }
            }
        }
    }

    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, NoAnswer> {
        if let State::Open(connection) = &*self.state.borrow() {
            return Ok(Arc::clone(connection));
        }
        let mut states = self.state.subscribe();
        loop {
            match &*states.borrow_and_update() {
                State::Open(connection) => return Ok(Arc::clone(connection)),
                State::Trying => return Err(NoAnswer::Down),
                State::Down { retry_at, .. } if Instant::now() < *retry_at => {
                    return Err(NoAnswer::Down);
                }
                State::Closed | State::Opening | State::Down { .. } => {}
            }
            self.open();
            if timeout_at(deadline, states.changed()).await.is_err() {
                self.wait_no_more();
                return Err(NoAnswer::Late);
            }
        }
    }

    /// What takes longer than a request's patience is not worth the next one's.
    fn wait_no_more(&self) {
        self.state.send_if_modified(|state| {
            let is_opening = matches!(state, State::Opening);
            if is_opening {
                *state = State::Trying;
            }
            is_opening
        });
    }

    /// Lets a task open a connection, unless one does.
    ///
    /// The task lives on the runtime of the request that came first, and so does the connection. Where that
    /// runtime ends, the next request finds it broken and opens another on its own.
    fn open(self: &Arc<Self>) {
        let mut first_pause = None;
        self.state.send_if_modified(|state| {
            let (pause, next) = match *state {
                State::Closed => (FIRST_PAUSE, State::Opening),
                State::Down { pause, .. } => (pause, State::Trying),
                _ => return false,
            };
            first_pause = Some(pause);
            *state = next;
            true
        });
        if let Some(pause) = first_pause {
            let attempt = Attempt {
                link: Arc::clone(self),
                outcome: Some(State::Closed),
            };
            tokio::spawn(attempt.run(pause));
        }
    }

    /// Puts `next` in the place of a connection, unless somebody has done so.
    fn leave(&self, connection: &Connection, next: State) {
        self.state.send_if_modified(|state| {
            let is_this = matches!(state, State::Open(open) if Arc::ptr_eq(open, connection));
            if is_this {
                *state = next;
            }
            is_this
        });
    }

    /// Says that requests are not counted, and now and then again.
    fn complain(&self, about: &(dyn fmt::Display + Send + Sync)) {
        let mut complaints = self.complaints();
        let last = complaints.last;
        if last.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE) {
            *complaints = Complaints {
                last: Some(Instant::now()),
                is_open: true,
            };
            let redis = self.server.address();
            let (middleware, reason) = (self.name(), Harmless(about));
            tracing::warn!(middleware, %redis, %reason, "a rate limit cannot count");
        }
    }

    fn say_that_it_is_over(&self) {
        if std::mem::take(&mut self.complaints().is_open) {
            let redis = self.server.address();
            let middleware = self.name();
            tracing::info!(middleware, %redis, "a rate limit counts again");
        }
    }

    fn complaints(&self) -> MutexGuard<'_, Complaints> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the server, and neither user nor password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.server.address().to_string();
        f.debug_struct("Link")
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Not to be waited for, and not to be tried again for a while.
    fn down_for(pause: Duration) -> Self {
        Self::Down {
            retry_at: Instant::now() + pause,
            pause: FIRST_PAUSE,
        }
    }
}

/// Whether a connection is of no more use after an error. One to a server that has become a replica is not:
/// the name may lead to another by now.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::ReadOnly)
}

/// The opening of a connection. Its outcome is told also where it is dropped with its runtime.
struct Attempt {
    link: Arc<Link>,
    outcome: Option<State>,
}

impl Attempt {
    async fn run(mut self, pause: Duration) {
        let outcome = match timeout(CONNECT_TIMEOUT, open(&self.link.server)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no connection in time".to_owned()),
        };
        self.outcome = Some(match outcome {
            Ok(connection) => {
                self.link.say_that_it_is_over();
                State::Open(Arc::new(connection))
            }
            Err(error) => {
                self.link.complain(&error);
                State::Down {
                    // Not all gateways at the same moment.
                    retry_at: Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0),
                    pause: (pause * 2).min(LONGEST_PAUSE),
                }
            }
        });
    }
}

async fn open(server: &RedisServer) -> Result<Open, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(MAX_COMMANDS)
        .set_concurrency_limit(MAX_COMMANDS);
    let stream = server.connect().await?;
    let opening = MultiplexedConnection::new_with_config(server.introduction(), stream, config);
    let (commands, driver) = opening.await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver);
    Ok(Open {
        commands,
        _driver: tasks,
    })
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.link.state.send_replace(outcome);
        }
    }
}
