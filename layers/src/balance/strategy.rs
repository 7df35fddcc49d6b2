//! How a balance picks one of its members.

use super::lots::{Lots, Urn};
use super::maglev::Maglev;
use super::moment::Moment;
use super::turns::{Turns, smooth};
use super::{Member, Strategy};
use crate::endpoint::Endpoint;
use std::sync::Arc;

/// A strategy with its state, over members whose names and weights are known.
#[derive(Debug)]
pub(super) enum Picker {
    /// There is no choice: one at most takes traffic.
    Only(Option<usize>),
    Turns(Turns),
    Least,
    Random(Lots),
    Lighter(Lots),
    Hash(Maglev),
}

impl Picker {
    pub(super) fn new<S>(strategy: &Strategy, members: &[Member<S>]) -> Self {
        let weights = || members.iter().map(|member| member.weight);
        let mut weighted = (0..).zip(weights()).filter(|(_, weight)| *weight > 0);
        let (first, second) = (weighted.next(), weighted.next());
        if second.is_none() {
            return Self::Only(first.map(|(index, _)| index as usize));
        }
        let in_turn = [first, second].into_iter().flatten().chain(weighted);
        match strategy {
            Strategy::RoundRobin => {
                let cycle = in_turn.map(|(index, _): (u32, u32)| index);
                Self::Turns(Turns::new(cycle.collect()))
            }
            Strategy::Weighted => {
                let weights: Vec<_> = weights().collect();
                Self::Turns(Turns::new(smooth(&weights)))
            }
            Strategy::LeastConnections => Self::Least,
            Strategy::Random => Self::Random(Lots::new(weights())),
            Strategy::P2cEwma => Self::Lighter(Lots::new(weights())),
            Strategy::ConsistentHash(_) => {
                let names = members.iter().map(|member| member.endpoint.id());
                Self::Hash(Maglev::new(names.zip(weights())))
            }
        }
    }

    /// A member whose endpoint is open, if there is one. In a slow start it leaves out some of its turns, unless there
    /// is nobody else.
    pub(super) fn pick<S>(
        &self,
        members: &[Member<S>],
        moment: &Moment,
        is_open: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<usize> {
        let open = |index: usize| is_open(&members[index].endpoint);
        let leaves_out = match self {
            Self::Only(_) | Self::Least | Self::Hash(_) => false,
            Self::Turns(_) | Self::Random(_) | Self::Lighter(_) => moment.is_of_slow_start(),
        };
        if leaves_out {
            let warm = |index: usize| open(index) && moment.admits(&members[index].endpoint);
            if let Some(index) = self.pick_of(members, moment, warm) {
                return Some(index);
            }
        }
        self.pick_of(members, moment, open)
    }

    fn pick_of<S>(
        &self,
        members: &[Member<S>],
        moment: &Moment,
        open: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::Only(only) => only.filter(|index| open(*index)),
            Self::Turns(turns) => turns.next(open),
            Self::Least => least(members, moment, open),
            Self::Random(lots) => lots.draw(open),
            Self::Lighter(lots) => lighter(lots, members, moment, open),
            Self::Hash(table) => table.pick(moment.key, open),
        }
    }
}

/// The one with the fewest under way for its weight, which a slow start makes smaller; of several, any by weight.
fn least<S>(members: &[Member<S>], moment: &Moment, open: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut least, mut equals) = (f64::INFINITY, Urn::default());
    for (index, member) in members.iter().enumerate() {
        if member.weight == 0 || !open(index) {
            continue;
        }
        let weight = f64::from(member.weight) * moment.warmth(&member.endpoint);
        let load = member.endpoint.in_flight() as f64 / weight;
        // Equal shares are equal numbers: a quotient is rounded in one way only (IEEE 754).
        if load < least {
            (least, equals) = (load, Urn::default());
        }
        if load <= least {
            equals.add(index, weight);
        }
    }
    equals.drawn
}

/// Of two, the one that costs less; the first of equals, which is drawn by weight.
fn lighter<S>(
    lots: &Lots,
    members: &[Member<S>],
    moment: &Moment,
    open: impl Fn(usize) -> bool,
) -> Option<usize> {
    let first = lots.draw(&open)?;
    let Some(second) = lots.draw(|index| index != first && open(index)) else {
        return Some(first);
    };
    let cost = |index: usize| {
        let Member {
            endpoint, weight, ..
        } = &members[index];
        endpoint.cost(*weight, moment.now())
    };
    match cost(second) < cost(first) {
        true => Some(second),
        false => Some(first),
    }
}
