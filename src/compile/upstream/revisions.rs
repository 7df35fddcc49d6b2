//! Revisions of a service: a pool each, with its own turns and its own health, and the split over them.

use super::pool::{self, Pool};
use super::sticky::Sessions;
use super::{Service, Stack, failed};
use crate::compile::{Addresses, CompileError};
use crate::config::ServiceConfig;
use a3s_layers::split::{Revision, Shares, Split};
use std::sync::Arc;

pub(super) fn revisions(
    name: &str,
    config: &ServiceConfig,
    before: Option<&Service>,
    addresses: &Addresses,
) -> Result<(Stack, Vec<Arc<Pool>>), CompileError> {
    let common = config.common();
    let common_before = before.map(|before| before.config.common());
    let sessions = Sessions::of(name, &common)?;
    let mut revisions = Vec::with_capacity(config.revisions.len());
    let mut pools = Vec::with_capacity(config.revisions.len());
    for revision in &config.revisions {
        let known = before.and_then(|before| before.pool(Some(&revision.name)));
        let known = common_before.as_deref().zip(known);
        let members = pool::members(name, &common, &revision.servers, known, addresses);
        let members = members.map_err(failed(name))?;
        let strategy = revision.strategy.unwrap_or(common.strategy);
        let of = Some(revision.name.as_str());
        let (balance, pool) =
            pool::balanced(name, &common, strategy, of, sessions.as_ref(), members);
        let token = sessions.as_ref().and_then(|it| it.revision(&revision.name));
        revisions.push(Revision {
            name: revision.name.as_str().into(),
            cluster: Arc::new(balance.clone()),
            token,
            service: balance,
        });
        pools.push(Arc::new(pool));
    }
    let shares = config.revisions.iter().map(|each| each.traffic_percent);
    let shares = Shares::new(&shares.collect::<Vec<_>>());
    let split = Split::new(&shares, revisions);
    Ok((Stack::Http(pool::stack(split, sessions.as_ref())), pools))
}
