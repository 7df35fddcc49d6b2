//! What a reload would change. It is no second set of rules: both configurations are compiled as a reload compiles
//! them, the new one with what the other keeps for it, and what the two have in common then is what would be kept.

mod names;
mod pair;
mod shown;

use super::{Gateway, Shared};
use crate::compile::{self, Kept};
use crate::config::{GatewayConfig, Redactor};
use crate::error::Result;
use crate::stack::visible::Visible;
use names::Names;
use pair::Pair;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// What a reload would change, block by block. Empty where nothing would.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The blocks that change.
    pub changes: Vec<Change>,
}

/// A block that changes.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The block, as `services.backend`; the name alone where it is one of the top level.
    pub block: String,
    /// What becomes of it.
    pub action: Action,
    /// The keys that are not what they were; never a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What is kept, begins, and ends with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Added,
    /// It is another one.
    Changed,
    /// It is there no more.
    Removed,
}

impl Plan {
    /// Whether a reload would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, block: String, action: Action, keys: Vec<String>, effects: Vec<String>) {
        self.changes.push(Change {
            block,
            action,
            keys,
            effects,
        });
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.action {
                Action::Added => '+',
                Action::Changed => '~',
                Action::Removed => '-',
            };
            // Names may be those of a gateway elsewhere, that nobody has checked.
            write!(f, "{sign} {}", Visible(&change.block))?;
            if !change.keys.is_empty() {
                write!(f, ": {}", Visible(&change.keys.join(", ")))?;
            }
            writeln!(f)?;
            for effect in &change.effects {
                writeln!(f, "    {}", Visible(effect))?;
            }
        }
        Ok(())
    }
}

impl Gateway {
    /// What a gateway that runs `running` would change to run `new`. Nothing is started, and no name is looked up.
    ///
    /// # Errors
    /// One of the two could not run: as [`Gateway::validate`].
    pub fn plan(running: &GatewayConfig, new: &GatewayConfig) -> Result<Plan> {
        let gateway = Self::new(new.clone())?;
        gateway.shared.plan((running, new), (running, new))
    }

    /// The same against a gateway that runs elsewhere, of which only that is known which `GET /api/gateway/config`
    /// answers. What is written there as `***` is taken to be what it is in `new`, and files of one name are taken to
    /// hold the same: none of those that `shown` names is opened.
    ///
    /// # Errors
    /// `new` could not run, or `shown` is not the configuration of a gateway that could.
    pub fn plan_against(shown: &Value, new: &GatewayConfig) -> Result<Plan> {
        let gateway = Self::new(new.clone())?;
        let running = GatewayConfig::from_shown(shown)?;
        let secrets = compile::secrets(new);
        let new = new.as_shown(Redactor {
            url: &|url| secrets.of_url(url),
            header: &|name, value| secrets.of_header(name, value),
        })?;
        let (before, after) = shown::stand_ins(&running, &new);
        gateway.shared.plan((&running, &new), (&before, &after))
    }
}

impl Shared {
    /// Of two configurations as they are written, and as they are to be compiled.
    fn plan(
        &self,
        (running, new): (&GatewayConfig, &GatewayConfig),
        (before, after): (&GatewayConfig, &GatewayConfig),
    ) -> Result<Plan> {
        let names = Names::of([running, new]);
        let nothing = Kept {
            addresses: names.addresses(),
            ..self.kept(None)
        };
        let before = compile::compile(before, &nothing)?;
        let kept = Kept {
            services: before.services.clone(),
            middlewares: before.middlewares.clone(),
            tls: before.tls.clone(),
            ..nothing
        };
        let after = compile::compile(after, &kept)?;
        let pair = Pair {
            running,
            new,
            before,
            after,
            names,
        };
        let mut plan = Plan::default();
        pair.entrypoints(&mut plan);
        pair.routers(&mut plan);
        pair.services(&mut plan);
        pair.middlewares(&mut plan);
        pair.rest(&mut plan);
        Ok(plan)
    }
}
