//! Every problem in one run, each once; and the forms in which they are shown.

use super::*;

const BROKEN: &str = r#"shutdown_timeout_secs = "soon"
entrypoints "web" {
  address = "0.0.0.0"
  max_connections = 0
  http {
    header_timeout = "10x"
    max_headers = 0
    bogus = 1
  }
}
entrypoints "other" {
}
routers "a" {
  rule = "Hots(`a`)"
  service = "backnd"
  entrypoints = ["web", "wbe"]
  priority = "high"
}
routers "b" {
  rule = foo
  service = 7
}
services "backend" {
  load_balancer {
    servers = [
      { url = "http://ok" },
      { url = "ftp://a" },
      { url = "http://b/c", weight = 70000 },
      { wait = 1 },
    ]
    timeouts { connect = 0 }
    tls { cert_file = "/nonexistent" }
  }
  respond { status = 99 }
}
"#;

#[test]
fn every_problem_of_every_block_is_told_in_one_run() {
    assert_eq!(
        told(BROKEN),
        [
            "1:25 E005 expected a whole number from 0, found a string",
            "3:13 E006 the port is missing; write it like \"0.0.0.0:8080\", \"[::]:443\", \":8080\" or \"unix:/run/gateway.sock\"",
            "4:21 E008 `max_connections` is out of range: 0 is not from 1 to 10000000",
            "6:25 E006 unknown unit `x`; the units are `ms`, `s`, `m`, `h` and `d`",
            "7:19 E008 `max_headers` is out of range: 0 is not from 1 to 4096",
            "8:5 E004 unknown key `bogus`; known here: `header_timeout`, `idle_timeout`, `request_timeout`, `max_headers`, `max_header_bytes`, `h2_max_streams`, `h2_max_resets`, `h2c`, `encoded_slash`",
            "11:1 E007 `address` is missing",
            "14:11 E006 unknown matcher `Hots`; did you mean `Host`?",
            "15:13 E012 router `a` names the unknown service `backnd`; did you mean `backend`?",
            "16:25 E012 router `a` names the unknown entrypoint `wbe`; did you mean `web`?",
            "17:14 E005 expected a whole number, found a string",
            "20:10 E010 `foo` is not a value; put it in quotes: \"foo\"",
            "21:13 E005 expected a string, found 7",
            "27:16 E006 unknown scheme `ftp`; the schemes are `http`, `https`, `h2c`, `ws`, `wss`, `tcp`, `udp` and `unix`",
            "28:24 E006 the URL of a server has no path",
            "28:38 E008 expected a whole number from 0 to 65535, found 70000",
            "29:7 E007 `url` is missing",
            "29:9 E004 unknown key `wait`; known here: `url`, `weight`",
            "31:26 E008 `connect` is out of range: 0s is not from 1ms to 1h",
            "32:23 E013 `cert_file` needs `key_file`",
            "32:23 E002 `cert_file` cannot be read: no such file",
            "34:3 E013 service `backend` has both `load_balancer` and `respond`",
            "34:22 E008 `status` is out of range: 99 is not from 200 to 599",
        ]
    );
}

#[test]
fn more_than_one_error_of_syntax_is_told() {
    let text =
        "entrypoints \"a\" {\n  address = localhost:80\n}\nrouters \"b\" {\n  rule = = 1\n}\n";
    let told = told(text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("2:13 E001") && told[0].ends_with("address = \"localhost:80\""),
        "{told:?}"
    );
    assert!(told[1].starts_with("5:10 E001"), "{told:?}");
    let open = super::told("routers \"b\" {\n  rule = \"x\"\n");
    assert!(
        open[0].contains("`routers \"b\" {` is not closed"),
        "{open:?}"
    );
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let text = with(
        "admin { token = \"hunter2\", adress = \"${TOKEN}\" }\nrouters \"${TOKEN}\" {}\nservices \"x\" { respond { status = \"${TOKEN}\" } }\n",
    );
    let one = "admin {\n token = \"hunter2\"\n}\nadmin {}\nservices \"x\" {\n respond { status = \"${TOKEN}\" }\n}\nrouters \"q\" {\n rule = \"${TOKEN}\"\n service = \"${TOKEN}\"\n}\n";
    let line = "admin { token = \"hunter2\" }\nrouters \"q\" {\n rule = \"Path(`/`)\"\n service = \"${TOKEN}\"\n}\n";
    for text in [
        text,
        with(one),
        with(line),
        with("services \"x\" {\n load_balancer = jsondecode(env(\"JSON\"))\n}"),
        with(
            "routers \"x\" {\n rule = \"Path(`/`)\"\n service = \"${TOKEN}\"\n entrypoints = [\"${TOKEN}\"]\n}",
        ),
        with("admin { token = [\"${TOKEN}\"] }"),
        with("shutdown_timeout_secs = \"a${TOKEN}\""),
    ] {
        let diagnostics = loaded(&text).diagnostics;
        assert!(diagnostics.has_errors());
        for shown in [
            diagnostics.to_string(),
            diagnostics.to_json().to_string(),
            diagnostics.to_sarif().to_string(),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    for (token, shown) in [
        ("12345", "token = ***,"),
        ("\"hunter2\"", "token = \"***\","),
        ("env(\"NOT_SET\", \"hunter2\")", "token = env(***),"),
    ] {
        let diagnostics = loaded(&with(&format!(
            "admin = {{ adress = 1, token = {token}, }}"
        )));
        let diagnostics = diagnostics.diagnostics.render(false);
        assert!(diagnostics.contains(shown), "{diagnostics}");
    }
    let told = loaded(&with("admin { token = [\"hunter2\"] }"))
        .diagnostics
        .to_json();
    assert_eq!(told[0]["span"]["start"], told[0]["span"]["end"], "{told}");
    let odd = loaded(&with("admin { token = \"hunter2\" }\nadmin { }\n"))
        .diagnostics
        .render(true);
    assert!(odd.contains("again here"), "{odd}");
    let config = good(&with("admin { token = \"hunter2\" }"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
}

#[test]
fn a_duplicate_names_both_places() {
    let diagnostics = loaded(&with("services \"backend\" {\n  respond { }\n}\n")).diagnostics;
    let first = diagnostics.iter().next().unwrap();
    assert_eq!(first.place.as_ref().unwrap().line, 17);
    assert_eq!(first.also[0].line, 11);
    assert_eq!(
        diagnostics.to_string(),
        "configuration:17:1: error[E011]: the block is given twice; first given here configuration:11:1"
    );
}

#[test]
fn an_entrypoint_given_twice_is_there() {
    let twice = format!("entrypoints \"web\" {{\n  address = \":81\"\n}}\n{MINIMAL}");
    assert_eq!(told(&twice), ["5:1 E011 the block is given twice"]);
    let nothing = MINIMAL.replace(
        "entrypoints \"web\" {\n  address = \"0.0.0.0:8080\"",
        "entrypoints {",
    );
    assert!(told(&nothing)[0].contains("E015 there is no entrypoint"));
}

#[test]
fn a_number_alone_is_no_template() {
    let with_redirect = |to: &str| {
        let text = "middlewares \"x\" {\n  type = \"redirect\"\n  regex = \"^http://a/(.*)\"\n  replacement = ";
        super::told_of(&format!("{text}{to}\n}}"))
    };
    let expected =
        "`${1}` is HCL's way to write `1`; write `$${1}` for the group of a regular expression";
    for (to, column) in [
        ("\"http://b/${1}\"", 27),
        ("\"${1}\"", 18),
        ("\"http://b/%{ if true }${~ 1 ~}%{ endif }\"", 39),
    ] {
        assert_eq!(
            with_redirect(to),
            [format!("20:{column} E010 {expected}")],
            "{to}"
        );
    }
    for to in ["\"http://b/$${1}\"", "\"http://b/${2 - 1}\""] {
        assert_eq!(with_redirect(to), [""; 0], "{to}");
    }
}

#[test]
fn json_is_one_list_and_sarif_has_regions() {
    let diagnostics = loaded(&with("rooters = 1")).diagnostics;
    let json = diagnostics.to_json();
    assert_eq!(json[0]["severity"], "error");
    assert_eq!(
        (json[0]["code"].as_str(), json[0]["line"].as_u64()),
        (Some("E004"), Some(17))
    );
    let sarif = diagnostics.to_sarif();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "E004");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (region["startLine"].as_u64(), region["endColumn"].as_u64()),
        (Some(17), Some(8))
    );
}

#[test]
fn a_configuration_built_in_code_is_checked_without_places() {
    let mut config = GatewayConfig::default();
    let rule = crate::rule::Rule::parse("PathPrefix(`/`)", crate::rule::Protocol::Http).unwrap();
    config
        .routers
        .insert("a".to_owned(), RouterConfig::new(rule, "nobody"));
    let told: Vec<_> = config.check().iter().map(|d| d.to_string()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("error[E015]: there is no entrypoint"));
    assert_eq!(
        told[1],
        "error[E012]: router `a` names the unknown service `nobody`"
    );
}

#[test]
fn a_configuration_is_shown_as_it_would_be_written() {
    let config = good(&with("admin { token = \"x\" }"));
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["entrypoints"]["web"]["http"]["header_timeout"], "10s");
    assert_eq!(
        json["entrypoints"]["web"]["http"]["max_header_bytes"],
        "32KiB"
    );
    assert_eq!(json["admin"]["token"], "***");
    assert_eq!(json["routers"]["api"]["rule"], "PathPrefix(`/api`)");
    assert_eq!(
        json["services"]["backend"]["load_balancer"]["servers"][0]["url"],
        "http://127.0.0.1:8001"
    );
}
