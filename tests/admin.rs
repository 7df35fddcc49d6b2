//! The admin API, over sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;

use process::{Backend, Process, Reply, ask, eventually, file, get, serve};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A gateway with one server, and its admin API.
struct Setup {
    gateway: Process,
    backend: Backend,
    web: String,
    admin: String,
    text: String,
    path: PathBuf,
    _directory: TempDir,
}

fn setup(admin: &str) -> Setup {
    let backend = Backend::start("backend");
    let text = format!(
        r#"
entrypoints "web" {{
  address = "127.0.0.1:0"
}}

routers "all" {{
  rule    = "PathPrefix(`/`)"
  service = "backend"
}}

routers "state" {{
  rule    = "PathPrefix(`/api/gateway`) || Path(`/ready`)"
  service = "admin@internal"
}}

services "backend" {{
  load_balancer {{
    servers = [{{ url = "http://{}" }}]
  }}
}}

admin {{
  address = "127.0.0.1:0"
  {admin}
}}
"#,
        backend.address
    );
    let (directory, path) = file(&text);
    let mut gateway = serve(&path);
    Setup {
        web: gateway.address("web"),
        admin: gateway.address("admin@internal"),
        gateway,
        backend,
        text,
        path,
        _directory: directory,
    }
}

impl Setup {
    fn json(&self, page: &str) -> Value {
        let reply = get(&self.admin, &format!("/api/gateway/{page}"));
        assert_eq!(reply.status, 200, "{page}: {reply:?}");
        assert!(
            reply.head.contains("content-type: application/json"),
            "{reply:?}"
        );
        for told in ["cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(reply.head.contains(told), "{page}: {reply:?}");
        }
        reply.json()
    }
}

#[test]
fn it_is_healthy_ready_and_alive() {
    let setup = setup("");
    let health = setup.json("health");
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let backend = json!({ "servers": 1, "available": 1 });
    assert_eq!(health["services"], json!({ "backend": backend }));
    assert_eq!(health["last_reload"], Value::Null);
    assert!(health["uptime_secs"].is_u64());
    assert_eq!(get(&setup.admin, "/ready").json(), json!({ "ready": true }));
    let live = json!({ "live": true, "state": "running" });
    assert_eq!(get(&setup.admin, "/live").json(), live);
    assert_eq!(get(&setup.admin, "/nowhere").status, 404);
    assert_eq!(
        ask(&setup.admin, "POST", "/api/gateway/health", &[]).status,
        405
    );
}

#[test]
fn it_tells_what_runs_and_what_it_did() {
    let setup = setup("");
    for _ in 0..3 {
        assert_eq!(get(&setup.web, "/x").status, 200);
    }
    // An answer is counted when its body has ended, which its reader may know first.
    let counted = || setup.json("routers")[0]["requests"]["2xx"] == 3;
    eventually("three answers are counted", counted);
    let [all, state] = &setup.json("routers").as_array().unwrap().clone()[..] else {
        panic!("two routers");
    };
    assert_eq!(
        (&all["name"], &all["service"]),
        (&json!("all"), &json!("backend"))
    );
    assert_eq!(
        (&all["rule"], &all["priority"]),
        (&json!("PathPrefix(`/`)"), &json!(15))
    );
    assert_eq!(state["service"], "admin@internal");
    let requests = json!({ "total": 3, "1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 0 });
    for page in ["entrypoints", "routers", "services"] {
        let shown = &setup.json(page)[0];
        assert_eq!(
            (&shown["requests"], &shown["in_flight"]),
            (&requests, &json!(0)),
            "{page}"
        );
        let latency =
            ["p50", "p90", "p99"].map(|share| shown["latency_ms"][share].as_f64().unwrap());
        assert!(
            latency[0] > 0.0 && latency.is_sorted(),
            "{page}: {latency:?}"
        );
    }
    assert_eq!(
        state["latency_ms"],
        json!({ "p50": null, "p90": null, "p99": null })
    );

    let service = &setup.json("services")[0];
    assert_eq!(
        (&service["name"], &service["requests"]["2xx"]),
        (&json!("backend"), &json!(3))
    );
    let servers = service["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1);
    let mut server = servers[0].clone();
    let since = server.as_object_mut().unwrap().shift_remove("since");
    assert!(since.unwrap().as_u64().unwrap() > 1_700_000_000);
    let ewma = server.as_object_mut().unwrap().shift_remove("ewma_ms");
    assert!(ewma.unwrap().as_f64().unwrap() > 0.0);
    let expected = json!({
        "url": format!("http://{}", setup.backend.address),
        "weight": 1,
        "state": "healthy",
        "why": {},
        "in_flight": 0,
        "requests": 3,
        "failures": 0,
        "ejections": 0,
        "ejected_until": null,
        "last_failure": null,
        "last_probe": null,
    });
    assert_eq!(server, expected);

    let entrypoints = setup.json("entrypoints");
    assert_eq!(entrypoints[0]["name"], "web");
    assert_eq!(entrypoints[0]["address"], *setup.web);
    assert_eq!(entrypoints[1]["address"], *setup.admin);
    let open = || setup.json("entrypoints")[1]["open_connections"].clone();
    eventually("one is left, the one that asks", || open() == 1);
}

#[test]
fn metrics_are_text_that_prometheus_reads() {
    let setup = setup("");
    assert_eq!(get(&setup.web, "/x").status, 200);
    let labels = "code=\"200\",method=\"GET\",protocol=\"http\"";
    let count =
        format!("gateway_router_requests_total{{{labels},router=\"all\",service=\"backend\"}} 1\n");
    let metrics = || get(&setup.admin, "/api/gateway/metrics");
    eventually("it is counted", || metrics().body.contains(&count));
    // The gateway may hear of the connection's end after the client.
    let none = "gateway_open_connections{entrypoint=\"web\",protocol=\"http\"} 0\n";
    eventually("it is closed", || metrics().body.contains(none));
    let Reply { head, body, .. } = metrics();
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    for line in [
        &format!("gateway_service_requests_total{{{labels},service=\"backend\"}} 1\n"),
        "gateway_config_reloads_total{result=\"success\"} 0\n",
        "gateway_config_last_reload_success 1\n",
        &format!(
            "gateway_service_server_in_flight{{service=\"backend\",server=\"http://{}\"}} 0\n",
            setup.backend.address
        ),
        &format!(
            "gateway_service_server_up{{service=\"backend\",server=\"http://{}\"}} 1\n",
            setup.backend.address
        ),
    ] {
        assert!(body.contains(line), "{line} in\n{body}");
    }
    let accept = ["Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"];
    let Reply { head, body, .. } = ask(&setup.admin, "GET", "/api/gateway/metrics", &accept);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.contains(&count) && body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let setup = setup("token = \"hunter2\"");
    let page = "/api/gateway/config";
    let reply = ask(
        &setup.admin,
        "GET",
        page,
        &["Authorization: Bearer hunter2"],
    );
    let config = reply.json();
    assert_eq!(config["admin"]["token"], "***");
    assert_eq!(config["routers"]["all"]["rule"], "PathPrefix(`/`)");
    assert_eq!(
        config["entrypoints"]["web"]["http"]["header_timeout"],
        "10s"
    );
    assert!(!reply.body.contains("hunter2"));
}

#[test]
fn the_tests_of_a_configuration_are_shown_without_their_secrets() {
    let setup = setup("");
    let test = r#"
test "of the outside" {
  request {
    url    = "http://localhost/${file("secret")}?page=1"
    method = join("", ["GE", file("method")])
    sni    = join("", [file("secret")])
  }
  expect {
    router  = "all"
    headers = { X-A = "" }
  }
}

test "of the file" {
  request {
    url = "http://u:s3cret@localhost/?token=s3cret&page=2"
    sni = "example.com"
  }
  expect {
    router  = "none"
    headers = { X-Token = "", Location = "" }
  }
}
"#;
    let directory = setup.path.parent().unwrap();
    fs::write(directory.join("secret"), "s3cret").unwrap();
    fs::write(directory.join("method"), "T").unwrap();
    fs::write(&setup.path, format!("{}{test}", setup.text)).unwrap();
    setup.gateway.signal(Signal::HUP);
    eventually("it runs", || {
        !setup.json("config")["test"]["of the file"].is_null()
    });
    let config = setup.json("config");
    let request = &config["test"]["of the outside"]["request"];
    for key in ["url", "method", "sni"] {
        assert_eq!(request[key], "***", "{request:#}");
    }
    let request = &config["test"]["of the file"]["request"];
    assert_eq!(request["url"], "http://localhost/?token=***&page=2");
    assert_eq!(request["sni"], "example.com");
    assert!(!config.to_string().contains("s3cret"), "{config:#}");

    // A plan compares what is shown of both.
    let path = setup.path.to_str().unwrap();
    let against = format!("http://{}", setup.admin);
    let mut plan = process::run(["plan", "--config", path, "--against", &against]);
    assert_eq!(plan.wait(), 0, "{plan}");
}

#[test]
fn a_page_from_elsewhere_may_not_ask() {
    let setup = setup("token = \"hunter2\"");
    let token = "Authorization: Bearer hunter2";
    let pages = ["config", "explain?url=/", "services/backend/servers/x"];
    for (headers, is_refused) in [
        (&["Sec-Fetch-Site: cross-site"][..], true),
        (&["Sec-Fetch-Site: same-site"], true),
        (&["Origin: http://evil.example"], true),
        (&["Origin: null"], true),
        (&["Origin: http://localhost"], false),
        (
            &[
                "Sec-Fetch-Site: same-origin",
                "Origin: http://behind.example",
            ],
            false,
        ),
        (&["Sec-Fetch-Site: none"], false),
    ] {
        for address in [&setup.admin, &setup.web] {
            for (page, method) in pages
                .iter()
                .flat_map(|page| ["GET", "PUT", "OPTIONS"].map(|method| (page, method)))
            {
                let headers = [&[token], headers].concat();
                let reply = ask(address, method, &format!("/api/gateway/{page}"), &headers);
                let says_so = reply.body.contains("a page from elsewhere may not ask");
                assert_eq!(says_so, is_refused, "{method} {page} {headers:?} {reply:?}");
                assert_eq!(reply.status == 403 && says_so, is_refused, "{reply:?}");
            }
        }
        // Nothing is in these.
        for page in ["/live", "/ready"] {
            assert_eq!(ask(&setup.admin, "GET", page, headers).status, 200);
        }
    }
}

#[test]
fn a_token_is_asked_for_but_not_of_probes() {
    let setup = setup("token = \"hunter2\"");
    let pages = [
        "health",
        "metrics",
        "config",
        "entrypoints",
        "routers",
        "services",
    ];
    for page in pages.map(|page| format!("/api/gateway/{page}")) {
        for address in [&setup.admin, &setup.web] {
            let reply = get(address, &page);
            assert_eq!(reply.status, 401, "{page}");
            assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
            let status = |header: &str| ask(address, "GET", &page, &[header]).status;
            assert_eq!(status("Authorization: Bearer hunter2"), 200, "{page}");
            assert_eq!(status("authorization: bearer hunter2"), 200, "{page}");
            for wrong in [
                "Bearer hunter",
                "Bearer hunter22",
                "Bearer ",
                "Basic hunter2",
                "hunter2",
                "Bearer",
            ] {
                assert_eq!(
                    status(&format!("Authorization: {wrong}")),
                    401,
                    "{page} {wrong}"
                );
            }
        }
    }
    assert_eq!(get(&setup.admin, "/ready").status, 200);
    assert_eq!(get(&setup.admin, "/live").status, 200);
}

#[test]
fn only_allowed_addresses_may_ask() {
    let refused = setup("allowed_ips = [\"10.0.0.0/8\"]");
    for page in ["/api/gateway/health", "/ready", "/live", "/nowhere"] {
        assert_eq!(get(&refused.admin, page).status, 403, "{page}");
        let forged = ["X-Forwarded-For: 10.0.0.1"];
        assert_eq!(
            ask(&refused.admin, "GET", page, &forged).status,
            403,
            "{page}"
        );
    }
    assert_eq!(get(&refused.web, "/api/gateway/health").status, 403);
    assert_eq!(
        get(&refused.web, "/x").status,
        200,
        "it is of the admin API only"
    );
    let allowed = setup("allowed_ips = [\"10.0.0.0/8\", \"127.0.0.1\"]");
    assert_eq!(get(&allowed.admin, "/ready").status, 200);
}

#[test]
fn a_router_leads_to_the_same_pages() {
    let setup = setup("");
    assert_eq!(get(&setup.web, "/api/gateway/routers").status, 200);
    assert_eq!(get(&setup.web, "/ready").json(), json!({ "ready": true }));
    // Where no router leads there, the server answers.
    assert!(get(&setup.web, "/live").body.starts_with("backend: "));
}

#[test]
fn without_the_block_there_is_no_listener() {
    let mut setup = setup("");
    let without = setup.text.split("\nadmin {").next().unwrap().to_owned();
    fs::write(&setup.path, without).unwrap();
    setup.gateway.line("closing entrypoint=admin@internal");
    eventually("it listens no more", || {
        std::net::TcpStream::connect(&setup.admin).is_err()
    });
    assert_eq!(get(&setup.web, "/api/gateway/health").status, 200);
}

#[test]
fn a_failed_reload_is_shown_until_one_succeeds() {
    let setup = setup("");
    let broken = setup
        .text
        .replace("service = \"backend\"", "service = \"backnd\"");
    fs::write(&setup.path, broken.replace("servers = [", "serves = [")).unwrap();
    eventually("it is degraded", || {
        setup.json("health")["status"] == "degraded"
    });
    let reload = setup.json("health")["last_reload"].clone();
    assert_eq!(reload["success"], false);
    assert!(reload["at"].as_u64().unwrap() > 1_700_000_000);
    let problems = reload["problems"].as_array().unwrap();
    assert!(problems.len() >= 2, "{problems:?}");
    for problem in problems {
        let problem = problem.as_str().unwrap();
        assert!(
            problem.contains("gateway.hcl:") && problem.contains("error[E"),
            "{problem}"
        );
    }
    assert_eq!(get(&setup.admin, "/ready").status, 200, "what ran goes on");
    assert_eq!(get(&setup.web, "/x").status, 200);
    let metrics = get(&setup.admin, "/api/gateway/metrics").body;
    assert!(
        metrics.contains("gateway_config_last_reload_success 0\n"),
        "{metrics}"
    );
    assert!(metrics.contains("gateway_config_reloads_total{result=\"failure\"} 1\n"));

    fs::write(&setup.path, setup.text.replace("`/`", "`/y`")).unwrap();
    eventually("it is healthy", || {
        setup.json("health")["status"] == "healthy"
    });
    assert_eq!(setup.json("health")["last_reload"]["success"], true);
    assert_eq!(setup.json("routers")[0]["rule"], "PathPrefix(`/y`)");
}

#[test]
fn it_answers_to_the_end_of_the_drain_and_is_not_ready() {
    let mut setup = setup("");
    let web = setup.web.clone();
    let client = std::thread::spawn(move || get(web, "/held"));
    setup.backend.wait_for_held(1);
    assert_eq!(setup.json("services")[0]["servers"][0]["in_flight"], 1);
    setup.gateway.signal(Signal::TERM);
    setup.gateway.line("draining entrypoint=web");
    let ready = get(&setup.admin, "/ready");
    assert_eq!(
        (ready.status, ready.json()),
        (503, json!({ "ready": false }))
    );
    assert_eq!(get(&setup.admin, "/live").json()["state"], "draining");
    assert_eq!(setup.json("health")["status"], "draining");
    setup.backend.release();
    assert_eq!(client.join().unwrap().status, 200);
    assert_eq!(setup.gateway.wait(), 0, "{}", setup.gateway);
}

#[test]
fn one_of_a_list_is_shown_by_its_name() {
    let setup = setup("");
    for (list, name) in [
        ("entrypoints", "web"),
        ("routers", "state"),
        ("services", "backend"),
    ] {
        let all = setup.json(list);
        let all = all.as_array().unwrap();
        let expected = all.iter().find(|each| each["name"] == name).unwrap();
        let one = setup.json(&format!("{list}/{name}"));
        for key in ["name", "rule", "protocol", "service", "address"] {
            assert_eq!(one[key], expected[key], "{list} {key}");
        }
    }
    for page in [
        "entrypoints/nope",
        "routers/nope",
        "services/nope",
        "middlewares/nope",
        "middlewares/%ff",
    ] {
        let reply = get(&setup.admin, &format!("/api/gateway/{page}"));
        assert_eq!(reply.status, 404, "{page}");
        assert!(reply.body.contains("no such "), "{reply:?}");
    }
}

#[test]
fn a_part_of_a_list_is_shown_and_how_long_it_is() {
    let setup = setup("");
    let part = |query: &str| {
        let reply = get(&setup.admin, &format!("/api/gateway/routers?{query}"));
        let routers = reply.json();
        let names = routers.as_array().unwrap().iter();
        let names: Vec<_> = names.map(|each| each["name"].as_str().unwrap()).collect();
        let total = reply
            .head
            .lines()
            .find_map(|line| line.strip_prefix("x-total-count: "));
        (names.join(" "), total.unwrap().trim().to_owned())
    };
    for (query, names, total) in [
        ("", "all state", "2"),
        ("limit=1", "all", "2"),
        ("offset=1", "state", "2"),
        ("offset=9", "", "2"),
        ("limit=0", "", "2"),
        ("search=PATHPREFIX(%60%2Fapi", "state", "1"),
        ("search=admin%40internal", "state", "1"),
        ("search=nowhere", "", "0"),
    ] {
        assert_eq!(part(query), (names.to_owned(), total.to_owned()), "{query}");
    }
    let reply = get(&setup.admin, "/api/gateway/services?limit=-1");
    assert_eq!(reply.status, 400);
}

#[test]
fn a_middleware_is_shown_with_those_who_name_it_and_without_its_secrets() {
    let setup = setup("");
    let more = "routers \"more\" {\n  rule = \"Path(`/more`)\"\n  service = \"backend\"\n  middlewares = [\"keys\", \"both\"]\n}\nmiddlewares \"keys\" {\n  type = \"api-key\"\n  keys = { ci = \"0123456789abcdef0123456789abcdef\" }\n}\nmiddlewares \"both\" {\n  type = \"chain\"\n  middlewares = [\"keys\"]\n}\n";
    fs::write(&setup.path, format!("{}{more}", setup.text)).unwrap();
    let is_there = || get(&setup.admin, "/api/gateway/middlewares/keys").status == 200;
    eventually("it runs", is_there);
    let mut keys = setup.json("middlewares/keys");
    let settings = keys
        .as_object_mut()
        .unwrap()
        .shift_remove("settings")
        .unwrap();
    let expected = json!({
        "name": "keys",
        "type": "api-key",
        "routers": ["more"],
        "entrypoints": [],
        "chains": ["both"],
        "uses": 2,
    });
    assert_eq!(keys, expected);
    assert_eq!(settings["type"], "api-key");
    assert!(
        !settings.to_string().contains("0123456789abcdef"),
        "{settings}"
    );
}

#[test]
fn reloads_are_told_with_what_was_wrong_and_what_changed() {
    let setup = setup("");
    let [start] = &setup.json("reloads").as_array().unwrap().clone()[..] else {
        panic!("one start");
    };
    assert_eq!(
        (&start["start"], &start["success"]),
        (&json!(true), &json!(true))
    );
    fs::write(
        &setup.path,
        setup.text.replace("\"backend\"\n}", "\"backnd\"\n}"),
    )
    .unwrap();
    eventually("it is refused", || {
        setup.json("reloads")[0]["success"] == false
    });
    let refused = setup.json("reloads")[0].clone();
    let problems = refused["problems"].as_array().unwrap();
    let problem = problems.iter().find(|each| each["code"] == "E012").unwrap();
    assert_eq!(problem["severity"], "error");
    assert!(problem["file"].as_str().unwrap().ends_with("gateway.hcl"));
    let line = problem["line"].as_u64().unwrap() as usize;
    assert!(
        setup
            .text
            .lines()
            .nth(line - 1)
            .unwrap()
            .contains("service = ")
    );
    assert!(problem["column"].as_u64().unwrap() > 1);
    assert!(problem["message"].as_str().unwrap().contains("`backnd`"));
    assert!(problem["help"].as_str().unwrap().contains("`backend`"));
    assert_eq!(refused["changes"], json!([]));

    let unused = "middlewares \"unused\" {\n  type = \"strip-prefix\"\n  prefixes = [\"/x\"]\n}\n";
    let text = setup.text.replace("`/`", "`/y`");
    fs::write(&setup.path, format!("{text}{unused}")).unwrap();
    eventually("it runs", || setup.json("reloads")[0]["success"] == true);
    let changes = json!([
        { "kind": "router", "name": "all", "change": "changed" },
        { "kind": "middleware", "name": "unused", "change": "added" },
    ]);
    assert_eq!(setup.json("reloads")[0]["changes"], changes);
    let placed = || setup.json("warnings")[0]["line"].is_u64();
    eventually("the warnings are those of what runs", placed);
    let warnings = setup.json("warnings");
    assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
    assert_eq!(warnings[0]["code"], "W004");
}

#[test]
fn certificates_are_told_without_their_keys() {
    let setup = setup("");
    assert_eq!(setup.json("certificates"), json!([]));
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["a.test".to_owned(), "*.b.test".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let directory = setup.path.parent().unwrap();
    let (cert_file, key_file) = (directory.join("a.pem"), directory.join("a.key"));
    fs::write(&cert_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let tls = format!(
        "entrypoints \"secure\" {{\n  address = \"127.0.0.1:0\"\n  tls {{\n    cert_file = \"{}\"\n    key_file = \"{}\"\n  }}\n}}\n",
        cert_file.display(),
        key_file.display()
    );
    fs::write(&setup.path, format!("{}{tls}", setup.text)).unwrap();
    let is_there = || setup.json("certificates") != json!([]);
    eventually("it runs", is_there);
    let expected = json!([{
        "entrypoint": "secure",
        "names": ["a.test", "*.b.test"],
        "default": true,
        "not_after": 1_767_225_600,
        "state": "expired",
    }]);
    assert_eq!(setup.json("certificates"), expected);
    assert_eq!(setup.json("entrypoints/secure")["tls"], true);
}
