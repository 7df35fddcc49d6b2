//! What the command line says, and the exit status: 0 done, 1 invalid or failed, 2 usage or an unreadable file.

mod demo;
mod explain;
mod format;
mod log;
mod pages;
mod plan;
mod running;
mod serve;
mod validate;

use a3s_gateway::config::{LogLevel, Source, schema};
use a3s_gateway::stack::visible::{Visible, VisibleJson};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use log::Log;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// An API gateway and reverse proxy: one binary, one readable HCL file.
#[derive(Debug, Parser)]
#[command(name = "a3s-gateway", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    config: ConfigArgs,
    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,a3s_gateway=debug`; else info, or
    /// where a gateway runs what its configuration says.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// How the log is written, on standard error; else as text, or where a gateway runs as its configuration says.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration, and tell everything that is wrong with it.
    Validate {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the problems are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// A warning is an error.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Tell what would become of a request, and send nothing. Exit status 0 where a router was found, 1 where none.
    #[command(
        allow_missing_positional = true,
        override_usage = "a3s-gateway explain [OPTIONS] [METHOD] <URL>",
        after_help = EXPLAIN_EXAMPLES
    )]
    Explain {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        args: explain::ExplainArgs,
    },
    /// Tell what a reload would change, and what it would keep.
    ///
    /// Exits with 0 where nothing changes, 2 where something does, 1 where one of the two could not run, or is not known.
    #[command(
        override_usage = "a3s-gateway plan [OPTIONS] --against <PATH|URL>",
        after_help = PLAN_EXAMPLES
    )]
    Plan {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        args: plan::PlanArgs,
    },
    /// Write configurations in their canonical form.
    #[command(after_help = FORMAT_EXAMPLES)]
    Fmt(format::FormatArgs),
    /// Print the JSON Schema of a configuration.
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Run a gateway with servers of its own on loopback, and print what to try.
    Demo {
        /// The port to listen on; 0 lets the system choose.
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Print the completions of a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write it with those of the subcommands.
    #[command(after_help = MAN_EXAMPLES)]
    Man(pages::ManArgs),
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  a3s-gateway explain example.com/path
  a3s-gateway explain POST https://example.com:8443/path -H 'Content-Type: text/plain'
  a3s-gateway explain tls://db.example.com:5432";

const PLAN_EXAMPLES: &str = "\
Examples:
  a3s-gateway plan --config new.hcl --against gateway.hcl
  a3s-gateway plan --config new.hcl --against http://127.0.0.1:9090
  A3S_GATEWAY_TOKEN=$(cat token) a3s-gateway plan --against https://gateway.example:9090/api/gateway";

const SCHEMA_HELP: &str = "\
It is of draft 2020-12. A labelled block is a key of a map: `routers \"a\" { }` is { \"routers\": { \"a\": { } } }.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(a3s-gateway completions bash)
  a3s-gateway completions zsh > ~/.zfunc/_a3s-gateway
  a3s-gateway completions fish > ~/.config/fish/completions/a3s-gateway.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  a3s-gateway man | man -l -
  a3s-gateway man --out /usr/local/share/man/man1";

const FORMAT_EXAMPLES: &str = "\
Examples:
  a3s-gateway fmt                       # gateway.hcl, in place
  a3s-gateway fmt --check --diff conf/  # for a pipeline: shows what would change, and exits with 1
  a3s-gateway fmt - < old.hcl > new.hcl";

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration: a file, or a directory of `*.hcl`.
    #[arg(long, short, default_value = "gateway.hcl", value_name = "PATH")]
    config: PathBuf,
    /// The value of a declared variable; may be given more than once.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    vars: Vec<(String, String)>,
}

impl ConfigArgs {
    fn source(self) -> Source {
        Source {
            path: self.config,
            vars: self.vars,
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For a person.
    Text,
    /// An object a line.
    Json,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For a person.
    #[default]
    Text,
    /// A list of objects.
    Json,
    /// SARIF 2.1.0, for code scanners.
    Sarif,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Whether something could not be said.
static IS_UNSAID: AtomicBool = AtomicBool::new(false);

/// Writes lines to standard output. What is in them of others moves nothing on a terminal.
fn say(text: &str) {
    put(format!("{}\n", lines(text)).as_bytes());
}

/// Writes a document in JSON, as [`say`] does.
fn say_json(document: &str) {
    put(format!("{}\n", VisibleJson(document)).as_bytes());
}

fn lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| Visible(line).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes to standard output. A reader that has gone away is no failure of ours; a full disk is the command's, which
/// says so once, and in its exit status.
fn put(bytes: &[u8]) {
    wrote(std::io::stdout().write_all(bytes));
}

/// Sees to it that what was written is out.
fn wrote(written: std::io::Result<()>) {
    let written = written.and_then(|()| std::io::stdout().flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && !IS_UNSAID.swap(true, Ordering::Relaxed)
    {
        complain(&format_args!("standard output: {error}"));
    }
}

/// Writes to standard error, as [`say`] does.
fn complain(error: &dyn fmt::Display) {
    let error = lines(&error.to_string());
    let _ = writeln!(std::io::stderr(), "error: {error}");
}

/// An exit status as the command promises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Unreadable = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(usage) if usage.use_stderr() => usage.exit(),
        // Help, or the version: printed as anything else is.
        Err(asked) => {
            wrote(asked.print());
            return ended(Exit::Done);
        }
    };
    let log = Log::start(command.log_level, command.log_format);
    let exit = match command.verb {
        None => serve::serve(&command.config.source(), log),
        Some(Verb::Validate {
            config,
            format,
            deny_warnings,
        }) => validate::validate(&config.source(), format, deny_warnings),
        Some(Verb::Plan { config, args }) => plan::plan(&config.source(), &args),
        Some(Verb::Explain { config, args }) => explain::explain(&config.source(), args),
        Some(Verb::Fmt(args)) => format::format_all(&args),
        Some(Verb::Schema) => {
            say_json(&format!("{:#}", schema()));
            Exit::Done
        }
        Some(Verb::Completions { shell }) => pages::completions(shell),
        Some(Verb::Man(args)) => pages::man(args.out.as_deref()),
        Some(Verb::Demo { port }) => demo::demo(port, log),
    };
    ended(exit)
}

fn ended(exit: Exit) -> ExitCode {
    match IS_UNSAID.load(Ordering::Relaxed) {
        true => Exit::Failed.into(),
        false => exit.into(),
    }
}
