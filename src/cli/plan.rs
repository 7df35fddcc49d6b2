//! `plan`: what a reload would change.

use super::validate::read;
use super::{Exit, complain, say};
use a3s_gateway::Gateway;
use a3s_gateway::config::{Code, GatewayConfig, Source};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The configuration that runs: a file, or a directory of `*.hcl`.
    #[arg(long, value_name = "PATH")]
    against: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// 0 where nothing would change, 2 where something would, 1 where one of the two could not run.
pub(super) fn plan(source: &Source, args: PlanArgs) -> Exit {
    let running = Source {
        path: args.against,
        vars: source.vars.clone(),
    };
    let (Some((running, _)), Some((new, findings))) = (loaded(&running), loaded(source)) else {
        return Exit::Failed;
    };
    let plan = match Gateway::plan(&running, &new) {
        Ok(plan) => plan,
        Err(error) => {
            complain(&error);
            return Exit::Failed;
        }
    };
    if args.json {
        let found = json!({ "changes": plan.changes, "routers": findings });
        say(&format!("{found:#}"));
    } else {
        match plan.is_empty() {
            true => say("nothing changes"),
            false => say(plan.to_string().trim_end()),
        }
        if !findings.is_empty() {
            say("\nrouters:");
        }
        for finding in &findings {
            say(&format!("    {finding}"));
        }
    }
    match plan.is_empty() {
        true => Exit::Done,
        false => Exit::Unreadable,
    }
}

/// A configuration, and what its routers lack.
fn loaded(source: &Source) -> Option<(GatewayConfig, Vec<a3s_gateway::config::Diagnostic>)> {
    let loaded = read(source).ok()?;
    let Some(config) = loaded.config else {
        loaded.diagnostics.print();
        return None;
    };
    let of_routers = [Code::Unreachable, Code::SamePriority];
    let warnings = loaded.diagnostics.warnings();
    let findings = warnings.filter(|warning| of_routers.contains(&warning.code));
    Some((config, findings.cloned().collect()))
}
