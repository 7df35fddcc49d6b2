//! `type = "grpc-web"`.

use super::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lets browsers call gRPC services: gRPC-Web on the client's side, gRPC on the server's. It has no keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcWebConfig {}

impl Settings for GrpcWebConfig {}
