//! `plan --against URL`: it is told why a running gateway cannot be asked, and what to do about it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/process.rs"]
mod process;
mod support;

use process::{PROGRAM, Process, file, serve};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use support::tls::Authority;

fn text(admin: &str) -> String {
    format!(
        r#"
entrypoints "web" {{ address = "127.0.0.1:0" }}
routers "all" {{
  rule    = "PathPrefix(`/`)"
  service = "calm"
}}
services "calm" {{
  respond {{ body = "calm" }}
}}
admin {{
  address = "127.0.0.1:0"
  {admin}
}}
"#
    )
}

/// Its exit status, and what it said.
fn plan(
    new: &Path,
    against: &str,
    environment: &[(&str, &str)],
    more: &[&str],
) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["plan", "--against", against, "--config"]);
    command.arg(new).args(more);
    command.env_remove("A3S_GATEWAY_TOKEN");
    command.envs(environment.iter().copied());
    let mut process = Process::spawn(&mut command);
    (process.wait(), process.stdout, process.stderr)
}

#[test]
fn a_token_comes_from_the_environment_or_a_file() {
    let (directory, new) = file(&text("token = \"a-token\""));
    let mut gateway = serve(&new);
    let url = format!("http://{}", gateway.address("admin@internal"));
    let (right, wrong) = (
        directory.path().join("token"),
        directory.path().join("wrong"),
    );
    std::fs::write(&right, "a-token\n").unwrap();
    std::fs::write(&wrong, "\n").unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let variable = "A3S_GATEWAY_TOKEN";
    for (environment, more, words) in [
        (vec![(variable, "a-token")], vec![], ""),
        (vec![], vec!["--token-file", right], ""),
        (vec![(variable, "wrong")], vec!["--token-file", right], ""),
        (vec![], vec![], "asks for a token (401): put that of"),
        (
            vec![(variable, "wrong")],
            vec![],
            "does not take this token (401)",
        ),
        (vec![(variable, "a\nb")], vec![], "the token is not one"),
        (vec![(variable, "")], vec![], "the token is not one"),
        (vec![], vec!["--token-file", wrong], "the token is not one"),
        (
            vec![],
            vec!["--token-file", "/nowhere"],
            "/nowhere: No such file",
        ),
    ] {
        let (status, said, complained) = plan(&new, &url, &environment, &more);
        assert_eq!(status, i32::from(!words.is_empty()), "{said}{complained}");
        assert!(complained.contains(words), "{words}\nnot in\n{complained}");
        assert_eq!(said.starts_with("nothing changes"), words.is_empty());
        assert!(!complained.contains("a-token"), "{complained}");
    }
}

#[test]
fn who_may_not_ask_is_told_why() {
    let (_directory, new) = file(&text("allowed_ips = [\"10.0.0.0/8\"]"));
    let mut gateway = serve(&new);
    let web = gateway.address("web");
    let url = format!("http://{}", gateway.address("admin@internal"));
    let (status, _, complained) = plan(&new, &url, &[], &[]);
    assert_eq!(status, 1);
    assert!(complained.contains("refuses (403)"), "{complained}");
    // The entrypoint is no admin API: it answers, but what is not JSON.
    let (status, _, complained) = plan(&new, &format!("http://{web}"), &[], &[]);
    assert_eq!(status, 1);
    assert!(
        complained.contains("its answer is not JSON"),
        "{complained}"
    );
}

/// Answers each connection with `answer`, and then `rest` for as long as it is read; counts the bytes that were.
fn server(answer: &'static str, rest: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&sent);
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(answer.as_bytes())?;
        while !rest.is_empty() {
            stream.write_all(rest)?;
            counts.fetch_add(rest.len(), Relaxed);
        }
        Ok(())
    };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // It ends when the client has had enough.
            let _ = serve(stream);
        }
    });
    (format!("http://{address}"), sent)
}

#[test]
fn what_is_no_gateway_is_told() {
    let (_directory, new) = file(&text(""));
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.9\r\n", "does not answer as HTTP does"),
        ("", "does not answer as HTTP does"),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "is not the admin API of a gateway: it answers 404",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "leads elsewhere (302 Found), to http://127.0.0.1:1/: redirects are not followed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "its answer is not JSON",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}",
            "it is not the configuration of a gateway",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
            "does not end, or breaks off",
        ),
    ] {
        let (url, _) = server(answer, b"");
        let (status, said, complained) = plan(&new, &url, &[], &[]);
        assert_eq!(status, 1, "{said}{complained}");
        assert!(complained.contains(words), "{words}\nnot in\n{complained}");
    }
}

/// Names of a gateway elsewhere are its own affair: they forge no line, and move nothing on a terminal.
#[test]
fn what_a_gateway_says_stays_in_its_line() {
    let (_directory, new) = file(&text(""));
    let odd = "e\u{1b}[31mRED\r\nFAKE: nothing changes\u{202e}\u{9b}1m";
    let is_harmless = |text: &str| {
        !text.contains(['\u{1b}', '\r', '\u{202e}', '\u{9b}']) && !text.contains("\nFAKE")
    };
    let answer = |config: &serde_json::Value| {
        let body = config.to_string();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut config = serde_json::json!({
        "entrypoints": { "web": { "address": "127.0.0.1:0" }, odd: { "address": "127.0.0.1:1" } },
        "routers": {}, "services": { "calm": { "respond": { "body": "calm" } } }, "middlewares": {},
    });
    let shown: &'static str = answer(&config).leak();
    let (url, _) = server(shown, b"");
    let (status, said, complained) = plan(&new, &url, &[], &[]);
    assert_eq!(status, 2, "{said}{complained}");
    assert!(
        said.contains("e\\u{1b}[31mRED\\r\\nFAKE: nothing changes\\u{202e}"),
        "{said}"
    );
    assert!(is_harmless(&said), "{said:?}");
    let (url, _) = server(shown, b"");
    let (_, said, _) = plan(&new, &url, &[], &["--json"]);
    assert!(is_harmless(&said), "{said:?}");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(told["changes"].to_string().contains("RED"), "{told}");

    config["entrypoints"]["web"][odd] = 1.into();
    let (url, _) = server(answer(&config).leak(), b"");
    let (status, said, complained) = plan(&new, &url, &[], &[]);
    assert_eq!(status, 1, "{said}{complained}");
    assert!(complained.contains("FAKE"), "{complained}");
    assert!(is_harmless(&complained), "{complained:?}");
}

#[test]
fn an_endless_answer_is_read_to_a_limit() {
    let (_directory, new) = file(&text(""));
    let (url, sent) = server("HTTP/1.1 200 OK\r\n\r\n", &[b' '; 65_536]);
    let (status, _, complained) = plan(&new, &url, &[], &[]);
    assert_eq!(status, 1);
    assert!(
        complained.contains("does not end, or breaks off"),
        "{complained}"
    );
    // What is under way between the two is not read.
    assert!(sent.load(Relaxed) < 64 << 20);
}

#[test]
fn what_cannot_be_reached_is_told() {
    let (_directory, new) = file(&text(""));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (http, _) = server("HTTP/1.1 400 Bad Request\r\n\r\n", b"");
    let https = http.replace("http://", "https://");
    for (url, words) in [
        (
            format!("http://{address}"),
            "cannot be reached: Connection refused",
        ),
        (https, "cannot be reached"),
        (
            "http://user:word@127.0.0.1".to_owned(),
            "no user and no password",
        ),
        ("http://127.0.0.1:99999".to_owned(), "the port is not one"),
        ("http://".to_owned(), "this is no URL"),
        (format!("http://{address}/?token=x"), "the URL has a query"),
    ] {
        let (status, said, complained) = plan(&new, &url, &[], &[]);
        assert_eq!(status, 1, "{url}: {said}{complained}");
        assert!(complained.contains(words), "{words}\nnot in\n{complained}");
        assert!(!complained.contains("word@"), "{complained}");
    }
}

/// Files that it names may have other names here, or none.
#[test]
fn https_is_spoken_and_files_of_the_gateway_are_not_opened() {
    let authority = Authority::new();
    let (cert, key) = authority.files("127.0.0.1");
    let tls = |cert: &str, key: &str| {
        let tls = format!("tls {{\n cert_file = \"{cert}\"\n key_file = \"{key}\"\n}}");
        text("").replace(
            "{ address = \"127.0.0.1:0\" }",
            &format!("{{\n address = \"127.0.0.1:0\"\n {tls}\n}}"),
        )
    };
    let tls = |cert: &str, key: &str| {
        tls(cert, key).replace("service = \"calm\"", "service = \"admin@internal\"")
    };
    let (_directory, running) = file(&tls(&cert, &key));
    let mut gateway = serve(&running);
    let url = format!("https://{}/api/gateway/", gateway.address("web"));
    let authorities = authority.file();
    let believe = [("SSL_CERT_FILE", &*authorities)];
    let (status, said, complained) = plan(&running, &url, &believe, &[]);
    assert_eq!(status, 0, "{said}{complained}");
    let (status, _, complained) = plan(&running, &url, &[], &[]);
    assert_eq!(status, 1);
    assert!(complained.contains("cannot be reached"), "{complained}");

    // The gateway goes on with what it has read.
    let (other_cert, other_key) = authority.pair("other", &["127.0.0.1"]);
    std::fs::remove_file(&cert).unwrap();
    std::fs::remove_file(&key).unwrap();
    let (_directory, new) = file(&tls(&other_cert, &other_key));
    let (status, said, complained) = plan(&new, &url, &believe, &[]);
    assert_eq!(status, 2, "{said}{complained}");
    for words in [
        "~ entrypoints.web: tls.cert_file, tls.key_file",
        "the socket is kept",
        "TLS is set up anew",
    ] {
        assert!(said.contains(words), "{words}\nnot in\n{said}");
    }
}
