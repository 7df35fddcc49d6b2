//! An axum app with six of the gateway's policies in front of it, and no gateway.
//!
//! ```sh
//! cargo run --example custom_axum                     # 127.0.0.1:3000, or the address that is given
//! curl -i http://127.0.0.1:3000/                      # 401: it wants a key
//! curl -i http://127.0.0.1:3000/ -H 'X-API-Key: 5e0c-a1f7'
//! ```

use a3s_layers::auth::api_key::{ApiKeyLayer, KeySet};
use a3s_layers::body_limit::BodyLimitLayer;
use a3s_layers::cors::{CorsLayer, CorsPolicy};
use a3s_layers::headers::HeadersLayer;
use a3s_layers::key::KeySource;
use a3s_layers::peer::{ClientLayer, TrustedProxies};
use a3s_layers::rate_limit::local::RateLimitLayer;
use a3s_layers::rate_limit::{Limit, Policy};
use axum::Router;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tower::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let local = listener.local_addr()?;
    println!("listening on http://{local}");
    let app = app(local.port())?.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

fn app(port: u16) -> Result<Router, BoxError> {
    let mut keys = KeySet::new();
    // What `printf %s 5e0c-a1f7 | sha256sum` prints: the key itself stands nowhere.
    keys.add_sha256(
        Some("build"),
        "6eb03028c73217455098a6f43da3a551b0099331897faf82eea75c39f9d3e07c",
    )?;
    let consumer = HeaderName::from_static("x-consumer");
    let limit = Limit::new(5.0, Duration::from_secs(60))?;
    let cors = CorsPolicy::new().origin("https://app.example")?;
    let app = Router::new()
        .route("/", get(hello))
        .route(
            "/upload",
            post(|body: String| async move { format!("{} bytes\n", body.len()) }),
        )
        // A request comes to the last of these first. Each layer may be applied to other routers too: they would
        // share its counts.
        .layer(BodyLimitLayer::new(1024))
        .layer(ApiKeyLayer::new(keys).identity_header(consumer).hide(true))
        .layer(RateLimitLayer::new(Policy::new(limit), KeySource::ClientIp))
        .layer(CorsLayer::new(cors)?)
        .layer(HeadersLayer::new().security())
        .layer(ClientLayer::new(port, false, TrustedProxies::default()));
    Ok(app)
}

/// Who asks is told by the layer, and can be told by nobody else.
async fn hello(headers: HeaderMap) -> String {
    let consumer = headers
        .get("x-consumer")
        .and_then(|name| name.to_str().ok());
    format!("hello {}\n", consumer.unwrap_or("somebody"))
}
