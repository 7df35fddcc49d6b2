//! By what a balance chooses.

use super::HashOn;
use std::time::Duration;

/// By what a balance chooses. Made of a [`Strategy`] it is that, and nothing else.
///
/// ```
/// use a3s_layers::balance::{Rules, Strategy};
///
/// let rules = Rules {
///     panic_threshold_percent: 50,
///     ..Rules::from(Strategy::P2cEwma)
/// };
/// assert!(rules.slow_start.is_zero());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// How a member is chosen.
    pub strategy: Strategy,
    /// How long the share of a member that is [new or back](crate::endpoint::Endpoint::begin) takes to grow to what
    /// its weight says: from a tenth on, in proportion to the time (Envoy's slow start with an aggression of 1). 0 for
    /// no time. [`Strategy::ConsistentHash`] knows none: keys have their places.
    pub slow_start: Duration,
    /// Where less than this share of the members with a weight is available, 0 to 100, requests are spread over all
    /// that are not drained, however they are (Envoy's panic threshold). 0 never does.
    pub panic_threshold_percent: u8,
}

impl From<Strategy> for Rules {
    fn from(strategy: Strategy) -> Self {
        Self {
            strategy,
            ..Self::default()
        }
    }
}

/// A load-balancing strategy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Each in turn, whatever its weight (but 0).
    #[default]
    RoundRobin,
    /// Each in turn as often as its weight says, the turns spread evenly: nginx's smooth weighted
    /// round-robin, `a a b a c a a` for the weights 5, 1, 1.
    Weighted,
    /// The one with the fewest exchanges under way for its weight; of several, any one by weight, as Envoy's
    /// `LEAST_REQUEST` with `FULL_SCAN`.
    LeastConnections,
    /// Any one, by weight.
    Random,
    /// Of two that are drawn by weight the one that is likely to answer sooner: its latency, averaged so that a slow
    /// answer counts at once ([`Endpoint::ewma`](crate::endpoint::Endpoint::ewma)), times the exchanges under way and
    /// this one, divided by its weight. The power of two choices (Mitzenmacher, 2001) with Finagle's peak-EWMA as load.
    ///
    /// A server that was slow, or failed, is tried again as its average fades, after a minute at the latest.
    P2cEwma,
    /// Requests with one key go to one member, and to the next one by a second hash while it is not there. Maglev
    /// (Eisenbud et al., NSDI 2016) with a table of 65,537 places, shared out by weight: where members come or go,
    /// nearly all other keys stay. The hash is the same in every process.
    ConsistentHash(HashOn),
}
