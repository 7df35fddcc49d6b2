//! What the manuals of protocols and operations say.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use a3s_gateway::Gateway;
use a3s_gateway::config::GatewayConfig;
use std::fs;

/// Each example stands alone, but for a service `backend` or `database` that is not its subject. The files that it
/// names are there.
#[test]
fn every_example_of_the_manuals_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let authority = support::tls::Authority::new();
    let (chain, key) = authority.issue("example.com");
    let ca = authority.pem();
    let manuals = [
        include_str!("../docs/protocols.md"),
        include_str!("../docs/operations.md"),
    ];
    let blocks = manuals
        .iter()
        .flat_map(|manual| manual.split("```hcl\n").skip(1));
    for block in blocks {
        let mut text = block.split("```").next().unwrap().to_owned();
        for (name, server) in [
            ("backend", "http://127.0.0.1:8080"),
            ("database", "tcp://127.0.0.1:5432"),
        ] {
            if text.contains(&format!("\"{name}\""))
                && !text.contains(&format!("services \"{name}\""))
            {
                text += &format!(
                    "services \"{name}\" {{\n  load_balancer {{\n    servers = [{{ url = \"{server}\" }}]\n  }}\n}}\n"
                );
            }
        }
        for file in text
            .split('"')
            .filter(|word| word.starts_with("/etc/gateway/"))
        {
            let text = match file {
                _ if file.ends_with(".key") => &key,
                _ if file.contains("ca.") => &ca,
                _ => &chain,
            };
            let path = directory.join(file.trim_start_matches("/etc/gateway/"));
            fs::write(path, text).unwrap();
        }
        let text = text.replace("/etc/gateway", directory.to_str().unwrap());
        let config = GatewayConfig::from_hcl(&text);
        let config = config.unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
        Gateway::validate(&config).unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
    }
}
