//! `demo`: a gateway and three servers in one process, all on loopback, for a first look.

use super::log::Log;
use super::serve::run;
use super::{Exit, complain, say};
use a3s_gateway::config::GatewayConfig;
use axum::Router;
use axum::extract::Request;
use http::HeaderMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub(super) fn demo(port: u16, log: Log) -> Exit {
    match servers().and_then(|servers| Ok((servers, free(port)?))) {
        Ok((servers, port)) => {
            let hcl = configuration(port, &servers);
            match GatewayConfig::from_hcl(&hcl) {
                Ok(config) => run(config, log, || print(port, &hcl)),
                Err(error) => {
                    complain(&error);
                    Exit::Failed
                }
            }
        }
        Err(error) => {
            complain(&format!("the demo needs loopback: {error}"));
            Exit::Failed
        }
    }
}

/// The port to listen on: the one that was asked for, or one that is free.
fn free(port: u16) -> std::io::Result<u16> {
    match port {
        0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()
            .map(|a| a.port()),
        port => Ok(port),
    }
}

/// Starts three servers that say who they are and what they see, in a thread of their own.
fn servers() -> std::io::Result<[SocketAddr; 3]> {
    let bind = |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>((listener.local_addr()?, listener))
    };
    let [a, b, c] = [bind(0)?, bind(1)?, bind(2)?];
    let addresses = [a.0, b.0, c.0];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("demo-servers".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let mut serving = tokio::task::JoinSet::new();
                for (name, (_, listener)) in
                    ["blue-1", "blue-2", "green"].into_iter().zip([a, b, c])
                {
                    serving.spawn(async move {
                        let listener = tokio::net::TcpListener::from_std(listener)?;
                        let answer = move |request: Request| async move { seen(name, &request) };
                        axum::serve(listener, Router::new().fallback(answer)).await
                    });
                }
                while serving.join_next().await.is_some() {}
            });
        })?;
    Ok(addresses)
}

fn seen(name: &str, request: &Request) -> String {
    let headers: &HeaderMap = request.headers();
    let mut text = format!(
        "I am {name}. I saw {} {}\n",
        request.method(),
        request.uri()
    );
    for (name, value) in headers {
        text += &format!("  {name}: {}\n", value.to_str().unwrap_or("(not text)"));
    }
    text
}

fn configuration(port: u16, [a, b, c]: &[SocketAddr; 3]) -> String {
    format!(
        r#"entrypoints "web" {{
  address = "127.0.0.1:{port}"
}}

routers "blue" {{
  rule    = "PathPrefix(`/blue`)"
  service = "blue"
}}

routers "green" {{
  rule    = "Host(`green.localhost`) && Method(`GET`)"
  service = "green"
}}

routers "hello" {{
  rule    = "Path(`/`)"
  service = "hello"
}}

routers "state" {{
  rule    = "PathPrefix(`/api/gateway`) && ClientIP(`127.0.0.0/8`)"
  service = "admin@internal"
}}

services "blue" {{
  load_balancer {{
    strategy = "weighted"
    servers  = [{{ url = "http://{a}", weight = 2 }}, {{ url = "http://{b}" }}]
  }}
}}

services "green" {{
  load_balancer {{
    servers = [{{ url = "http://{c}" }}]
  }}
}}

services "hello" {{
  respond {{
    body    = "Hello from A3S Gateway\n"
    headers = {{ "content-type" = "text/plain" }}
  }}
}}
"#
    )
}

fn print(port: u16, hcl: &str) {
    say(&format!(
        "This configuration is running:\n\n{hcl}\nTry:\n\
         \x20 curl http://127.0.0.1:{port}/                                     a fixed answer\n\
         \x20 curl http://127.0.0.1:{port}/blue                                 two servers, one with twice the weight\n\
         \x20 curl -H 'Host: green.localhost' http://127.0.0.1:{port}/          another, by its host\n\
         \x20 curl --http2-prior-knowledge http://127.0.0.1:{port}/blue         HTTP/2 on the same port\n\
         \x20 curl -i http://127.0.0.1:{port}/nowhere                           no route\n\
         \x20 curl http://127.0.0.1:{port}/api/gateway/services                 what the gateway knows\n\
         \n\
         Ctrl-C ends it."
    ));
}
