//! A gateway with types of middlewares of the program's own.

use super::Gateway;
use crate::compile::CustomTypes;
use crate::config::GatewayConfig;
use crate::error::Result;
use crate::stack::{Next, Request, erase};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use tower::{BoxError, Layer, Service};

/// Made by [`Gateway::builder`].
pub struct GatewayBuilder {
    config: GatewayConfig,
    types: CustomTypes,
}

impl GatewayBuilder {
    pub(super) fn new(config: GatewayConfig) -> Self {
        Self {
            config,
            types: CustomTypes::new(),
        }
    }

    /// Gives the configuration a type of middleware: what is written as `type = "kind"` becomes the layer that
    /// `make` makes of the other keys, also after each reload. An error of `make` refuses the configuration.
    ///
    /// A type that every gateway has cannot be given another meaning: it is not asked for here.
    pub fn layer<L, B>(
        mut self,
        kind: impl Into<String>,
        make: impl Fn(&serde_json::Value) -> std::result::Result<L, BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        L: Layer<Next> + Clone + Send + Sync + 'static,
        L::Service: Service<Request, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request>>::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let make = move |settings: &_| Ok(erase(make(settings)?));
        self.types.insert(kind.into(), Arc::new(make));
        self
    }

    /// The gateway, not started yet.
    ///
    /// # Errors
    /// As [`Gateway::new`].
    pub fn build(self) -> Result<Gateway> {
        Gateway::with_types(self.config, self.types)
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<_> = self.types.keys().collect();
        f.debug_struct("GatewayBuilder")
            .field("types", &types)
            .finish_non_exhaustive()
    }
}
