//! Servers that echo, and clients that check what comes back: where `wrk` and a static nginx end.
//!
//! Usage, with the proxy at ADDR and one exchange at a time on each connection:
//!
//! - `echo serve tcp|udp|http|grpc ADDR`: an upstream
//! - `echo load tcp|tcp-new|udp|websocket|grpc ADDR HOST CONNECTIONS SECONDS`
//! - `echo load tls-new|tls-resumed ADDR HOST CONNECTIONS SECONDS CERTIFICATE`
//! - `echo load sse ADDR HOST STREAMS SECONDS UPSTREAM`: prints `OPEN` once the streams are, and
//!   goes on when it is given a line
//!
//! The load prints what it saw as one line of JSON.

mod grpc;
mod http;
mod load;
mod message;
mod sse;
mod tally;
mod tcp;
mod tls;
mod udp;
mod websocket;

use std::error::Error;
use std::process::exit;
use std::time::Duration;

use tokio::task::LocalSet;

use tally::{Failure, Tally};

/// Which proxy to ask, and for what.
pub struct Target<'a> {
    pub addr: &'a str,
    pub host: &'a str,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(error) = run(&args) {
        eprintln!("echo: {error}");
        exit(2);
    }
}

fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match args {
        ["serve", kind, addr] => runtime.block_on(serve(kind, addr)),
        ["load", kind, addr, host, connections, seconds, rest @ ..] => {
            let target = Target { addr, host };
            let connections = connections.parse()?;
            let window = Duration::from_secs_f64(seconds.parse()?);
            let load = load(kind, &target, connections, window, rest);
            let tally = LocalSet::new().block_on(&runtime, load);
            println!("RESULT {}", tally.unwrap_or_else(Tally::from).json());
            Ok(())
        }
        _ => Err("serve KIND ADDR, or load KIND ADDR HOST CONNECTIONS SECONDS".into()),
    }
}

async fn serve(kind: &str, addr: &str) -> Result<(), Box<dyn Error>> {
    match kind {
        "tcp" => Ok(tcp::serve(addr).await?),
        "udp" => Ok(udp::serve(addr).await?),
        "http" => Ok(http::serve(addr).await?),
        "grpc" => Ok(grpc::serve(addr).await?),
        _ => Err(format!("no such server: {kind}").into()),
    }
}

async fn load(
    kind: &str,
    target: &Target<'_>,
    connections: usize,
    window: Duration,
    rest: &[&str],
) -> Result<Tally, Failure> {
    match (kind, rest) {
        ("tcp", []) => Ok(load::run(tcp::connect(target, connections).await?, window).await),
        ("tcp-new", []) => Ok(load::run(tcp::strangers(target, connections), window).await),
        ("udp", []) => Ok(load::run(udp::connect(target, connections).await?, window).await),
        ("websocket", []) => {
            Ok(load::run(websocket::connect(target, connections).await?, window).await)
        }
        ("grpc", []) => Ok(load::run(grpc::connect(target, connections).await?, window).await),
        ("tls-new", [certificate]) => {
            let clients = tls::strangers(target, connections, certificate)?;
            Ok(load::run(clients, window).await)
        }
        ("tls-resumed", [certificate]) => {
            let clients = tls::acquaintances(target, connections, certificate)?;
            Ok(load::run(clients, window).await)
        }
        ("sse", [upstream]) => sse::run(target, connections, window, upstream).await,
        _ => Err(Failure::Broken(format!(
            "no such load: {kind} with {rest:?}"
        ))),
    }
}
