//! Whoever looks after a gateway, at its admin API.

use super::client::{Client, Reply, request};
use super::gateway::{Setup, TestGateway, connect};
use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The token of the admin API that [`watched`] sets.
pub const TOKEN: &str = "a-long-enough-token";

/// Adds the admin API, and the token that an operator needs to change anything.
pub fn watched(setup: Setup) -> Setup {
    setup.admin().set("admin/token", TOKEN)
}

/// A connection to the admin API, and the token.
#[derive(Debug)]
pub struct Operator(Client);

impl Operator {
    /// At an admin API.
    pub async fn at(address: SocketAddr) -> Self {
        Self(Client::admin(connect(address).await).await)
    }

    /// At the admin API of this gateway.
    pub async fn of(gateway: &TestGateway) -> Self {
        Self::at(gateway.address_of("admin@internal").await).await
    }

    /// Asks for what is there.
    pub async fn ask(&mut self, request: Request<Body>) -> Reply {
        self.0.ask(request).await
    }

    /// Looks at a page.
    pub async fn look(&mut self, path: &str) -> Value {
        let reply = self.ask(get(path)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        json_of(&reply)
    }

    /// Looks at one server.
    pub async fn server(&mut self, service: &str, server: SocketAddr) -> Value {
        let servers = self.look(&page(service, &server.to_string())).await;
        assert_eq!(servers.as_array().unwrap().len(), 1);
        servers[0].clone()
    }

    /// Wants something of a server, and gets what is shown of it from then on.
    pub async fn steer(&mut self, service: &str, server: &str, wish: &str) -> Value {
        let body = json!({ "state": wish }).to_string();
        let reply = self.ask(put(&page(service, server), &body)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let servers = json_of(&reply);
        assert_eq!(servers.as_array().unwrap().len(), 1);
        servers[0].clone()
    }
}

/// The page of a server.
pub fn page(service: &str, server: &str) -> String {
    format!("/api/gateway/services/{service}/servers/{server}")
}

/// What an operator sends to change something.
pub fn put(path: &str, body: &str) -> Request<Body> {
    let mut put = request("PUT", path);
    let headers = put.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    let token = format!("Bearer {TOKEN}");
    headers.insert("authorization", token.parse().unwrap());
    *put.body_mut() = Body::from(body.to_owned());
    put
}

/// What an operator sends to see something.
pub fn get(path: &str) -> Request<Body> {
    let mut get = put(path, "");
    *get.method_mut() = Method::GET;
    get
}

/// An answer as JSON.
pub fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"))
}
