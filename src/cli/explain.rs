//! `explain`: what would become of a request.

use super::validate::read;
use super::{Exit, complain, say, say_json};
use a3s_gateway::config::{GatewayConfig, Source};
use a3s_gateway::{Error, Explanation, Gateway, Question};
use clap::Args;
use std::net::IpAddr;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The method of the request.
    #[arg(default_value = "GET")]
    method: String,
    /// Its URL, as `https://example.com/path`; or a connection, as `tls://example.com:5432`.
    #[arg(required = true)]
    url: String,
    /// A header, as `Name: value`; may be given more than once.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The address that it comes from.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client_ip: IpAddr,
    /// The server name in the TLS handshake, where it is not the URL's host.
    #[arg(long, value_name = "HOST")]
    sni: Option<String>,
    /// A protocol offered in the TLS handshake; may be given more than once.
    #[arg(long, value_name = "PROTOCOL")]
    alpn: Vec<String>,
    /// The entrypoint, where it is not the one of the URL's scheme and port.
    #[arg(long, value_name = "NAME")]
    entrypoint: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(source: &Source, args: ExplainArgs) -> Exit {
    let json = args.json;
    let loaded = match read(source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let Some(config) = loaded.config else {
        loaded.diagnostics.print();
        return Exit::Unreadable;
    };
    let told = question(args).and_then(|question| told(&config, &question));
    match told {
        Ok(told) => {
            match json {
                true => say_json(&serde_json::to_string_pretty(&told).unwrap_or_default()),
                false => say(told.to_string().trim_end()),
            }
            match told.is_routed() {
                true => Exit::Done,
                false => Exit::Failed,
            }
        }
        Err(error) => {
            complain(&error);
            Exit::Unreadable
        }
    }
}

fn question(args: ExplainArgs) -> Result<Question, Error> {
    let mut question = Question::new(&args.method, &args.url)?.client_ip(args.client_ip);
    for line in &args.headers {
        question = question.header(line)?;
    }
    if let Some(name) = args.sni {
        question = question.server_name(name);
    }
    if let Some(name) = args.entrypoint {
        question = question.entrypoint(name);
    }
    Ok(args.alpn.into_iter().fold(question, Question::alpn))
}

fn told(config: &GatewayConfig, question: &Question) -> Result<Explanation, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Workers)?;
    runtime.block_on(Gateway::explain_offline(config, question))
}
