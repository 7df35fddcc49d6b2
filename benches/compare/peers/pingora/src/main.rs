//! Pingora is a library: this is the smallest proxy on it that does what the other peers' configs do.
//!
//! Usage: `pingora LISTEN UPSTREAM HOST`, each address as `ip:port`.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::prelude::*;
use pingora_core::server::configuration::ServerConf;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Forward {
    upstream: String,
    host: String,
    port: String,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let head = session.req_header();
        let host = head.headers.get("host").map(|host| host.as_bytes());
        if host != Some(self.host.as_bytes()) || !head.uri.path().starts_with('/') {
            return Err(Error::new(ErrorType::HTTPStatus(404)));
        }
        Ok(Box::new(HttpPeer::new(
            self.upstream.as_str(),
            false,
            String::new(),
        )))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        let client = session.client_addr().and_then(|addr| addr.as_inet());
        if let Some(ip) = client.map(|addr| addr.ip().to_string()) {
            upstream.append_header("X-Forwarded-For", &ip)?;
            upstream.insert_header("X-Real-Ip", &ip)?;
        }
        upstream.insert_header("X-Forwarded-Proto", "http")?;
        upstream.insert_header("X-Forwarded-Host", &self.host)?;
        upstream.insert_header("X-Forwarded-Port", &self.port)
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream), Some(host)) = (args.next(), args.next(), args.next()) else {
        panic!("usage: pingora LISTEN UPSTREAM HOST");
    };
    let port = listen.rsplit(':').next().unwrap_or_default().to_owned();
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 128,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(
        &Arc::clone(&server.configuration),
        Forward {
            upstream,
            host,
            port,
        },
    );
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever();
}
