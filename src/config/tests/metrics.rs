//! `metrics { }`.

use super::{good, told};
use crate::config::Compat;

fn with(keys: &str) -> String {
    format!(
        r#"metrics {{
  {keys}
}}
entrypoints "web" {{ address = ":80" }}
routers "web" {{
  rule    = "PathPrefix(`/`)"
  service = "web"
}}
services "web" {{
  respond {{ }}
}}
"#
    )
}

#[test]
fn metrics_have_the_names_of_another_gateway_where_they_are_asked_for() {
    assert_eq!(good(&with("")).metrics.compat, None);
    let config = good(&with("compat = \"traefik\""));
    assert_eq!(config.metrics.compat, Some(Compat::Traefik));
    for (keys, at, words) in [
        ("compat = \"nginx\"", "2:12", "`traefik`"),
        ("compat = true", "2:12", "found true"),
        ("buckets = [1]", "2:3", "unknown key `buckets`"),
    ] {
        let told = told(&with(keys));
        let [told] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(told.starts_with(at) && told.contains(words), "{told}");
    }
}
