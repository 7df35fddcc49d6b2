//! What the manual of services says.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;

/// Each example is made whole: with an entrypoint, a router to each of its services, and a service `other` where it
/// names one.
#[test]
fn every_example_of_the_manual_is_valid() {
    let manual = include_str!("../docs/services.md");
    let mut count = 0;
    for block in manual.split("```hcl\n").skip(1) {
        let mut text = block.split("```").next().unwrap().to_owned();
        if text.contains("\"other\"") && !text.contains("services \"other\"") {
            text += "services \"other\" {\n  respond { }\n}\n";
        }
        let labels = |kind: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
            lines
                .filter_map(|rest| Some(rest.split('"').next()?.to_owned()))
                .collect()
        };
        let (services, routed) = (labels("services \""), labels("routers \""));
        if !text.contains("entrypoints \"") {
            text += "entrypoints \"web\" { address = \":80\" }\n";
        }
        if routed.is_empty() {
            for name in &services {
                text += &format!(
                    "routers \"to-{name}\" {{\n  rule = \"Host(`{name}.test`)\"\n  service = \"{name}\"\n}}\n"
                );
            }
        }
        let config = GatewayConfig::from_hcl(&text);
        let config = config.unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
        Gateway::validate(&config).unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
        count += 1;
    }
    assert!(count > 0);
}
