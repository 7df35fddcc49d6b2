//! `type = "error-pages"`.

use super::Settings;
use crate::config::check::Place;
use crate::config::schema;
use crate::config::values::{ErrorStatuses, duration, page_query};
use a3s_layers::error_pages::PageQuery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Gives answers of some statuses a page that a service makes; the status stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorPagesConfig {
    /// The statuses: `404`, or `"500-599"` for all from one to another.
    pub status: Vec<ErrorStatuses>,
    /// The service that makes the pages.
    pub service: String,
    /// Where it has them: `{status}` is the status, `{url}` the request's path and query, percent-encoded.
    #[serde(default, with = "page_query")]
    #[schemars(with = "schema::PageQuery")]
    pub query: PageQuery,
    /// How long a page may take to begin before the answer goes without it.
    #[serde(default = "five_seconds", with = "duration")]
    #[schemars(with = "schema::Duration")]
    pub timeout: Duration,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

impl Settings for ErrorPagesConfig {
    fn check(&self, place: &mut Place<'_, '_>) {
        if self.status.is_empty() {
            place.invalid("status", "there is no status that gets a page");
        }
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(60));
        place.duration("timeout", self.timeout, min, max);
    }

    fn service(&self) -> Option<&str> {
        Some(&self.service)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::told_of;

    #[test]
    fn what_leads_to_no_page_is_told_where_it_is() {
        let no_status = "is neither the status of an error nor a range of them; write it like 404 or \"500-599\", from 400 to 599";
        let sample = "write it like \"/{status}.html\"";
        for (keys, expected) in [
            ("status = [404, \"500-599\"]\nservice = \"backend\"", vec![]),
            (
                "query = \"/e\"",
                vec![
                    "17:1 E007 `status` is missing".to_owned(),
                    "17:1 E007 `service` is missing".to_owned(),
                ],
            ),
            (
                "status = []\nservice = \"pages\"",
                vec![
                    "19:10 E006 there is no status that gets a page".to_owned(),
                    "20:11 E012 middleware `x` names the unknown service `pages`".to_owned(),
                ],
            ),
            (
                "status = [404, 200, \"5xx\"]\nservice = \"backend\"",
                vec![
                    format!("19:16 E006 `200` {no_status}"),
                    format!("19:21 E006 `5xx` {no_status}"),
                ],
            ),
            (
                "status = [404]\nservice = \"backend\"\nquery = \"{status}.html\"\ntimeout = \"2m\"",
                vec![
                    format!(
                        "21:9 E006 `{{status}}.html`: not a path that begins with `/`, and perhaps a query; {sample}"
                    ),
                    "22:11 E008 `timeout` is out of range: 2m is not from 1ms to 1m".to_owned(),
                ],
            ),
            (
                "status = [404]\nservice = \"backend\"\nquery = \"/{code}\"",
                vec![format!(
                    "21:9 E006 `/{{code}}`: what can stand in braces is `{{status}}` and `{{url}}`; {sample}"
                )],
            ),
        ] {
            let told = told_of(&format!(
                "middlewares \"x\" {{\ntype = \"error-pages\"\n{keys}\n}}"
            ));
            assert_eq!(told, expected, "{keys}");
        }
    }
}
