//! `plan`: what a reload would change.

use super::validate::read;
use super::{Exit, complain, running, say, say_json};
use a3s_gateway::config::{Code, Diagnostic, GatewayConfig, Source};
use a3s_gateway::{Gateway, Plan};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// What a plan against a gateway that runs cannot tell.
const UNSEEN: &str = "a secret that alone is another one is not seen this way, for a running gateway shows none, nor is a file that holds something else under the same name";

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The configuration that runs: a file, a directory of `*.hcl`, or the admin API of a gateway that runs it, as
    /// `http://127.0.0.1:9090`.
    #[arg(long, value_name = "PATH|URL")]
    against: PathBuf,
    /// A file with the token of the admin API; without it, it is taken from `A3S_GATEWAY_TOKEN`, if that is set.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// 0 where nothing would change, 2 where something would, 1 where one of the two could not run, or is not known.
pub(super) fn plan(source: &Source, args: &PlanArgs) -> Exit {
    let Some((new, findings)) = loaded(source) else {
        return Exit::Failed;
    };
    // As a reload does, before anything else.
    match Gateway::test(&new) {
        Ok(failed) => {
            failed.print();
            if failed.has_errors() {
                return Exit::Failed;
            }
        }
        Err(error) => return failed(&error),
    }
    let is_remote = running::is_url(&args.against);
    let plan = match is_remote {
        true => against_url(&new, args),
        false => against_file(&new, source, args),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    if args.json {
        let mut found = json!({ "changes": plan.changes, "routers": findings });
        if is_remote {
            found["unseen"] = json!(UNSEEN);
        }
        say_json(&format!("{found:#}"));
    } else {
        match plan.is_empty() {
            true => say("nothing changes"),
            false => say(plan.to_string().trim_end()),
        }
        if is_remote {
            say(&format!("\n{UNSEEN}"));
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

fn against_file(new: &GatewayConfig, source: &Source, args: &PlanArgs) -> Result<Plan, Exit> {
    let running = Source {
        path: args.against.clone(),
        vars: source.vars.clone(),
    };
    let (running, _) = loaded(&running).ok_or(Exit::Failed)?;
    Gateway::plan(&running, new).map_err(|error| failed(&error))
}

fn against_url(new: &GatewayConfig, args: &PlanArgs) -> Result<Plan, Exit> {
    let shown = running::configuration(&args.against, args.token_file.as_deref())?;
    Gateway::plan_against(&shown, new).map_err(|error| failed(&error))
}

fn failed(error: &a3s_gateway::Error) -> Exit {
    complain(error);
    Exit::Failed
}

/// A configuration, and what its routers lack.
fn loaded(source: &Source) -> Option<(GatewayConfig, Vec<Diagnostic>)> {
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
