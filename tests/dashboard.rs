//! The dashboard, in a browser.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::Duration;
use support::tls::Authority;
use support::{Client, Process, Server, connect, request, tools, within};
use tokio::sync::mpsc;

/// A browser is slow to start where much else is to be done.
const PATIENCE: Duration = Duration::from_secs(180);

/// A browser that looks at the dashboard. It ends when dropped.
struct Browser {
    child: Child,
    input: ChildStdin,
    said: mpsc::UnboundedReceiver<String>,
    heard: Vec<String>,
}

impl Browser {
    /// Plays a scene of `tests/node/dashboard.mjs` before this admin API.
    fn look(scene: &str, admin: SocketAddr) -> Self {
        let mut child = tools::node("dashboard.mjs")
            .args([scene, &format!("http://{admin}/")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node");
        let (say, said) = mpsc::unbounded_channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        let tell = say.clone();
        // They end with the process.
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| say.send(line))
        });
        thread::spawn(move || {
            errors
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Self {
            input: child.stdin.take().unwrap(),
            child,
            said,
            heard: Vec::new(),
        }
    }

    async fn says(&mut self, wanted: &str) {
        let heard = async {
            while let Some(line) = self.said.recv().await {
                if line == wanted {
                    return true;
                }
                self.heard.push(line);
            }
            false
        };
        let is_heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(is_heard == Ok(true), "{wanted}: {}", self.heard.join("\n"));
    }

    /// Waits until it asks for this to be done.
    async fn asks_to(&mut self, what: &str) {
        self.says(&format!("please {what}")).await;
    }

    fn has_been_done(&mut self, what: &str) {
        writeln!(self.input, "done {what}").unwrap();
    }

    /// Waits until it has seen all that it wanted to.
    async fn has_seen_all(mut self) {
        self.says("done").await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shop on two servers, and a name that is markup.
fn shop(servers: [&Server; 2], admin: &str) -> String {
    let [one, other] = servers;
    format!(
        r#"
entrypoints "web" {{
  address = "127.0.0.1:0"
}}
routers "shop" {{
  rule        = "Host(`shop.example.com`) && PathPrefix(`/api`)"
  service     = "shop"
  middlewares = ["limit", "breaker"]
}}
routers "<img src=x onerror=alert(1)>" {{
  rule    = "Path(`/<b>`)"
  service = "<script>alert(2)</script>"
}}
routers "all" {{
  rule    = "PathPrefix(`/`)"
  service = "shop"
}}
services "shop" {{
  load_balancer {{
    servers = [{{ url = "{one}" }}, {{ url = "{other}" }}]
    health_check {{
      path     = "/"
      interval = "100ms"
    }}
  }}
}}
services "<script>alert(2)</script>" {{
  respond {{
    body = "fixed"
  }}
}}
middlewares "limit" {{
  type = "rate-limit"
  rate = 10000
}}
middlewares "breaker" {{
  type = "circuit-breaker"
}}
middlewares "unused" {{
  type     = "strip-prefix"
  prefixes = ["/x"]
}}
admin {{
  address   = "127.0.0.1:0"
  dashboard = true
  {admin}
}}
"#
    )
}

async fn start(text: &str) -> Process {
    Process::start(text, &["web", "admin@internal"]).await
}

async fn played(scene: &str) {
    let servers = [Server::start().await, Server::start().await];
    let gateway = start(&shop([&servers[0], &servers[1]], "")).await;
    let browser = Browser::look(scene, gateway.address("admin@internal"));
    browser.has_seen_all().await;
}

/// Somebody who visits the shop.
async fn visit(web: SocketAddr) {
    let mut client = Client::h1(connect(web).await).await;
    for turn in 0_u64.. {
        let target = match turn % 20 {
            0..6 => "/",
            19 => "/old",
            _ => "/api/cart",
        };
        let mut request = request("GET", target);
        let host = "shop.example.com".parse().unwrap();
        request.headers_mut().insert("host", host);
        client.ask(request).await;
        // Not to be in step with anything: only so that the machine has time for the browser.
        tokio::time::sleep(Duration::from_millis(5 + turn / 50 % 20)).await;
    }
}

#[tokio::test]
async fn what_runs_is_shown_and_a_name_is_nothing_but_a_name() {
    let authority = Authority::new();
    let (cert, key) = authority.pair("shop", &["shop.example.com"]);
    let servers = [Server::start().await, Server::start().await];
    let text = shop([&servers[0], &servers[1]], "");
    let tls = format!(
        "entrypoints \"secure\" {{\n  address = \"127.0.0.1:0\"\n  tls {{\n    cert_file = \"{cert}\"\n    key_file = \"{key}\"\n  }}\n}}\n"
    );
    let gateway = start(&format!("{tls}{text}")).await;
    let traffic = tokio::spawn(visit(gateway.address("web")));
    let browser = Browser::look("shows", gateway.address("admin@internal"));
    browser.has_seen_all().await;
    traffic.abort();
}

/// `DASHBOARD_PICTURE=docs/dashboard.png` takes the picture of the manual.
#[tokio::test]
async fn a_picture_is_taken_where_it_is_asked_for() {
    if std::env::var_os("DASHBOARD_PICTURE").is_none() {
        return;
    }
    let (one, other) = (Server::start().await, Server::start().await);
    let text = shop([&one, &other], "")
        .replace("<img src=x onerror=alert(1)>", "old")
        .replace("<script>alert(2)</script>", "gone")
        .replace("Path(`/<b>`)", "Path(`/old`)")
        .replace("body = \"fixed\"", "status = 503");
    let gateway = start(&text).await;
    let traffic = tokio::spawn(visit(gateway.address("web")));
    let browser = Browser::look("picture", gateway.address("admin@internal"));
    drop(other);
    browser.has_seen_all().await;
    traffic.abort();
}

#[tokio::test]
async fn a_server_that_dies_and_a_refused_reload_are_shown() {
    let one = Server::start().await;
    let other = Server::start().await;
    let text = shop([&one, &other], "");
    let gateway = start(&text).await;
    let mut browser = Browser::look("changes", gateway.address("admin@internal"));
    browser.asks_to("stop a server").await;
    drop(other);
    browser.has_been_done("stop a server");
    browser.asks_to("break the configuration").await;
    let broken = text.replacen("service     = \"shop\"", "service     = \"shopp\"", 1);
    assert_ne!(broken, text);
    std::fs::write(gateway.file(), broken).unwrap();
    browser.has_been_done("break the configuration");
    browser.asks_to("mend the configuration").await;
    let mended = text.replace("PathPrefix(`/`)", "PathPrefix(`/all`)");
    std::fs::write(gateway.file(), mended).unwrap();
    browser.has_been_done("mend the configuration");
    browser.has_seen_all().await;
}

#[tokio::test]
async fn a_server_that_nobody_watches_says_what_it_did_wrong_last() {
    let text = "entrypoints \"web\" {\n  address = \"127.0.0.1:0\"\n}\nrouters \"all\" {\n  rule = \"PathPrefix(`/`)\"\n  service = \"alone\"\n}\nservices \"alone\" {\n  load_balancer {\n    servers = [{ url = \"http://127.0.0.1:1\" }]\n  }\n}\nadmin {\n  address = \"127.0.0.1:0\"\n  dashboard = true\n}\n";
    let gateway = start(text).await;
    let mut client = Client::h1(connect(gateway.address("web")).await).await;
    assert_eq!(client.get("/").await.status, 502);
    Browser::look("failed", gateway.address("admin@internal"))
        .has_seen_all()
        .await;
}

#[tokio::test]
async fn a_token_is_asked_for_and_kept_to_the_page() {
    let servers = [Server::start().await, Server::start().await];
    let text = shop([&servers[0], &servers[1]], "token = \"hunter2\"");
    let gateway = start(&text).await;
    Browser::look("token", gateway.address("admin@internal"))
        .has_seen_all()
        .await;
}

#[tokio::test]
async fn it_is_used_without_a_pointer() {
    played("keyboard").await;
}

#[tokio::test]
async fn it_is_read_in_light_and_dark_and_at_400_percent() {
    played("looks").await;
}

#[tokio::test]
async fn a_request_is_explained() {
    played("explain").await;
}

#[tokio::test]
async fn ten_thousand_routers_are_shown_in_parts() {
    let mut text = "entrypoints \"web\" {\n  address = \"127.0.0.1:0\"\n}\nservices \"one\" {\n  respond { }\n}\nmiddlewares \"common\" {\n  type = \"headers\"\n  response_headers = { X-A = \"b\" }\n}\nadmin {\n  address = \"127.0.0.1:0\"\n  dashboard = true\n}\n".to_owned();
    let gateway = start(&text).await;
    for number in 0..10_000 {
        writeln!(
            text,
            "routers \"r{number}\" {{\n  rule = \"Path(`/path/{number}`)\"\n  service = \"one\"\n  middlewares = [\"common\"]\n}}"
        )
        .unwrap();
    }
    // That many take their time to be read where much else is to be done, and the browser waits for them.
    std::fs::write(gateway.file(), text).unwrap();
    Browser::look("many", gateway.address("admin@internal"))
        .has_seen_all()
        .await;
}

#[tokio::test]
async fn its_files_are_served_where_it_is_wanted_and_nowhere_else() {
    let servers = [Server::start().await, Server::start().await];
    let text = shop([&servers[0], &servers[1]], "token = \"hunter2\"");
    let router = "routers \"ops\" {\n  rule = \"PathPrefix(`/ops`)\"\n  service = \"admin@internal\"\n  middlewares = [\"ops\"]\n}\nmiddlewares \"ops\" {\n  type = \"strip-prefix\"\n  prefixes = [\"/ops\"]\n}\n";
    let text = format!("{text}{router}");
    let gateway = start(&text).await;
    let mut admin = Client::admin(connect(gateway.address("admin@internal")).await).await;
    let page = admin.get("/dashboard/").await;
    assert_eq!(page.status, 200);
    let said = |name: &str| page.headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        said("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(said("x-content-type-options"), "nosniff");
    assert_eq!(said("referrer-policy"), "no-referrer");
    assert_eq!(said("cache-control"), "no-cache");
    let tag = said("etag");
    for (tags, status) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let mut again = request("GET", "/dashboard/");
        again
            .headers_mut()
            .insert("if-none-match", tags.parse().unwrap());
        let again = admin.ask(again).await;
        assert_eq!(again.status, status, "{tags}");
        assert_eq!(again.headers["etag"], *tag);
    }
    let slash = admin.get("/dashboard").await;
    assert_eq!(slash.status, 308);
    assert_eq!(slash.headers["location"], "dashboard/");
    for name in ["main.js", "dashboard.css", "icon.svg"] {
        let file = admin.get(&format!("/dashboard/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        assert!(file.headers.contains_key("content-security-policy"));
    }
    for name in ["nothing.js", "%2e%2e/mod.rs", "%ff"] {
        let file = admin.get(&format!("/dashboard/{name}")).await;
        assert_eq!(file.status, 404, "{name}");
    }
    // The page has nothing of the gateway in it, so it needs no token; what it reads does.
    assert_eq!(admin.get("/api/gateway/certificates").await.status, 401);
    let mut web = Client::h1(connect(gateway.address("web")).await).await;
    assert_eq!(web.get("/ops/dashboard/").await.status, 200);
    assert_eq!(web.get("/ops/api/gateway/reloads").await.status, 401);

    std::fs::write(gateway.file(), text.replace("dashboard = true", "")).unwrap();
    within("it is there no more", async {
        while admin.get("/dashboard/").await.status != 404 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(web.get("/ops/dashboard/main.js").await.status, 404);
    assert_eq!(admin.get("/dashboard").await.status, 404);
}
