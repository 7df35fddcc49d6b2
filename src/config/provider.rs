//! `providers { }`: where routers and services come from besides the file itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The providers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProvidersConfig {
    /// The file provider; without the block, the file is watched as by default.
    pub file: FileProviderConfig,
}

/// The file provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileProviderConfig {
    /// Whether a changed file takes effect by itself; otherwise on SIGHUP alone.
    pub watch: bool,
    /// A directory whose `*.hcl` add routers and services; relative to the configuration file. It may appear later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

impl Default for FileProviderConfig {
    fn default() -> FileProviderConfig {
        FileProviderConfig {
            watch: true,
            directory: None,
        }
    }
}
