//! Asks `/etc/hosts`, and then DNS servers.

use super::name::{Ask, Part, Reply};
use super::system::{self, Version, candidates, in_hosts};
use crate::config::DnsConfig;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

/// How many names are asked for at a time; the others wait for their turn.
const MAX_ASKED: usize = 64;

/// How often each question is asked.
const ATTEMPTS: usize = 2;

/// However many domains are searched, and servers do not answer: no longer than this.
const LONGEST: Duration = Duration::from_secs(20);

/// The files of the system are looked at once in this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long what `/etc/hosts` says is good for: it costs little to look.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// The way to whoever knows names.
pub(super) struct Dns {
    config: DnsConfig,
    turns: Semaphore,
    state: Mutex<Option<State>>,
}

struct State {
    version: Version,
    looked: Instant,
    known: Arc<Known>,
}

/// What the files of the system say.
struct Known {
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
    resolver: Result<TokioResolver, String>,
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("config", &self.config).finish()
    }
}

impl Dns {
    pub(super) fn new(config: &DnsConfig) -> Self {
        Self {
            config: config.clone(),
            turns: Semaphore::new(MAX_ASKED),
            state: Mutex::new(None),
        }
    }

    /// What is known, read again if the files have changed.
    async fn known(&self) -> Option<Arc<Known>> {
        let mut state = self.state.lock().await;
        if let Some(state) = &*state
            && state.looked.elapsed() < LOOK_AGAIN
        {
            return Some(Arc::clone(&state.known));
        }
        let version = tokio::task::spawn_blocking(Version::now).await.ok()?;
        let known = match &*state {
            Some(state) if state.version == version => Arc::clone(&state.known),
            _ => {
                let config = self.config.clone();
                let read = tokio::task::spawn_blocking(move || Known::read(&config));
                Arc::new(read.await.ok()?)
            }
        };
        *state = Some(State {
            version,
            looked: Instant::now(),
            known: Arc::clone(&known),
        });
        Some(known)
    }
}

impl Ask for Dns {
    async fn ask(&self, host: &str) -> Reply {
        let Ok(name) = Name::from_ascii(host) else {
            return Reply::failed("it is no name");
        };
        let asked = async {
            let _turn = self.turns.acquire().await;
            match self.known().await {
                Some(known) => known.ask(&name).await,
                None => Reply::failed("the runtime is about to end"),
            }
        };
        let asked = timeout(LONGEST, asked).await;
        asked.unwrap_or_else(|_| Reply::failed("nobody answers in time"))
    }
}

impl Known {
    fn read(config: &DnsConfig) -> Self {
        let hosts = system::hosts();
        let (servers, mut options) = match config.servers.is_empty() {
            false => (Ok(ours(config)), ResolverOpts::default()),
            true => match system::servers() {
                Ok((servers, options)) => (Ok(servers), options),
                Err(error) => (Err(error), ResolverOpts::default()),
            },
        };
        options.timeout = config.timeout;
        options.attempts = ATTEMPTS;
        // Whoever asks again wants to know.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let (ndots, mut search) = (options.ndots, Vec::new());
        let resolver = servers.and_then(|servers| {
            search = servers.search().to_vec();
            if search.is_empty() {
                search.extend(servers.domain().cloned());
            }
            let provider = TokioRuntimeProvider::default();
            let builder = TokioResolver::builder_with_config(servers, provider);
            let built = builder.with_options(options).build();
            built.map_err(|error| error.to_string())
        });
        Self {
            hosts,
            search,
            ndots,
            resolver,
        }
    }

    async fn ask(&self, name: &Name) -> Reply {
        if let Some([v4, v6]) = in_hosts(&self.hosts, name) {
            return Reply {
                v4: Part::Found(v4),
                v6: Part::Found(v6),
                ttl: HOSTS_TTL,
            };
        }
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Reply::failed(why),
        };
        // Its cache takes nothing for long, but it does take it.
        resolver.clear_cache();
        for name in candidates(name, &self.search, self.ndots) {
            let (v4, v6) = tokio::join!(
                resolver.lookup(name.clone(), RecordType::A),
                resolver.lookup(name, RecordType::AAAA),
            );
            let (v4, v6) = (Found::of(v4), Found::of(v6));
            // Where one family says that there is no such name, the failure of the other says nothing more.
            let is_nobody = (v4.is_empty() && v6.is_empty())
                || v4.says_no_name && !v6.has_some()
                || v6.says_no_name && !v4.has_some();
            if !is_nobody {
                let ttl = v4.ttl.min(v6.ttl);
                let (v4, v6) = (v4.part, v6.part);
                return Reply { v4, v6, ttl };
            }
        }
        let none = || Part::Found(Vec::new());
        Reply {
            v4: none(),
            v6: none(),
            ttl: Duration::ZERO,
        }
    }
}

/// The DNS servers that the configuration names.
fn ours(config: &DnsConfig) -> ResolverConfig {
    let servers = config.servers.iter().map(|server| {
        let address = server.address();
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut each| {
            each.port = address.port();
            each
        });
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    });
    ResolverConfig::from_name_servers(servers.collect())
}

/// What came of asking for one family.
struct Found {
    part: Part,
    ttl: Duration,
    /// There is no such name at all (NXDOMAIN).
    says_no_name: bool,
}

impl Found {
    fn of(result: Result<Lookup, NetError>) -> Self {
        let found = |addresses, ttl| Self {
            part: Part::Found(addresses),
            ttl,
            says_no_name: false,
        };
        match result {
            Ok(lookup) => {
                let records = lookup.answers();
                // That of a CNAME on the way counts as well.
                let ttl = records.iter().map(|record| record.ttl).min();
                let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
                let addresses = records.iter().filter_map(|record| record.data.ip_addr());
                found(addresses.collect::<Vec<IpAddr>>(), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Self {
                says_no_name: none.response_code == ResponseCode::NXDomain,
                ..found(Vec::new(), Duration::MAX)
            },
            Err(error) => Self {
                part: Part::Failed(error.to_string()),
                ..found(Vec::new(), Duration::MAX)
            },
        }
    }

    fn has_some(&self) -> bool {
        matches!(&self.part, Part::Found(addresses) if !addresses.is_empty())
    }

    fn is_empty(&self) -> bool {
        matches!(&self.part, Part::Found(addresses) if addresses.is_empty())
    }
}
