//! The gateway's policies around a client: any Tower service will do, here one that fails every other time.
//!
//! ```sh
//! cargo run --example service_builder
//! ```

use a3s_layers::builder::ServiceBuilderExt;
use a3s_layers::circuit_breaker::CircuitBreakerLayer;
use a3s_layers::error::{Failure, UpstreamError};
use a3s_layers::rescue::RescueLayer;
use a3s_layers::retry::{Retries, RetryLayer};
use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let client = service_fn(|request: Request<Body>| async move {
        if TRIES.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(UpstreamError::from(Failure::Connect).into());
        }
        let path = request.uri().path();
        Ok::<_, BoxError>(Response::new(Body::from(format!("this is {path}"))))
    });
    let service = ServiceBuilder::new()
        .circuit_breaker(CircuitBreakerLayer::new().failure_threshold(10))
        .answer_within(Duration::from_secs(5))
        .strip_prefix(["/api"])
        .retry_failed(RetryLayer::new().backoff(Duration::from_millis(5)))
        // Above it everything is an answer.
        .layer(RescueLayer::new())
        .service(client);
    for path in ["/api/users", "/api/groups"] {
        let request = Request::get(path).body(Body::empty())?;
        let response = service.clone().oneshot(request).await?;
        let Retries(retries) = response.extensions().get().copied().unwrap_or(Retries(0));
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body);
        println!("{path}: {status} after {retries} retries: {body}");
    }
    Ok(())
}
