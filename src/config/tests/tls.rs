//! TLS with clients: files, names and what is asked of them.

use super::{good, lines, loaded, told};
use std::fs;
use std::path::Path;

/// An entrypoint with this `tls`, and a router with that.
fn with(tls: &str, rule: &str, router: &str) -> String {
    format!(
        r#"entrypoints "web" {{
  address = ":443"
  {tls}
}}
routers "web" {{
  rule    = "{rule}"
  service = "web"
  {router}
}}
services "web" {{
  load_balancer {{
    servers = [{{ url = "http://127.0.0.1:81" }}]
  }}
}}
"#
    )
}

/// A certificate, its key, another key, and an authority.
struct Pems {
    directory: tempfile::TempDir,
}

impl Pems {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let make = |file: &str, after: i32| {
            let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.not_after = rcgen::date_time_ymd(after, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let at = |ending: &str| directory.path().join(format!("{file}.{ending}"));
            write(&at("pem"), &certificate.pem());
            write(&at("key"), &key.serialize_pem());
        };
        make("a", 2900);
        make("b", 2900);
        make("old", 2001);
        write(&directory.path().join("empty"), "");
        Self { directory }
    }

    /// The words with the files' paths for `@`.
    fn fill(&self, words: &str) -> String {
        words.replace('@', &format!("{}/", self.directory.path().display()))
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

const PAIR: &str = r#"cert_file = "@a.pem"
    key_file = "@a.key""#;

fn block(keys: &str) -> String {
    format!("tls {{\n    {keys}\n  }}")
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let pems = Pems::new();
    let config = good(&with(&pems.fill(&block(PAIR)), "Path(`/`)", ""));
    let tls = config.entrypoints["web"].tls.as_ref().unwrap();
    assert_eq!(tls.handshake_timeout.as_secs(), 10);
    assert_eq!(tls.min_version, crate::config::TlsVersion::V1_2);
    assert!(!tls.sni_strict && tls.alpn.is_none() && tls.client_auth.is_none());
}

#[test]
fn each_problem_is_told_where_it_is() {
    let pems = Pems::new();
    let pair = PAIR;
    let asks = r#"tls {
    client_auth { ca_file = "@a.pem" }
  }"#;
    let mut wrong = Vec::new();
    for (tls, rule, router, expected) in [
        (
            block(""),
            "Path(`/`)",
            "",
            &["3:3 E013 entrypoint `web` has no certificate; add `cert_file` and `key_file`"][..],
        ),
        (
            block("cert_file = \"@a.pem\""),
            "Path(`/`)",
            "",
            &["4:17 E013 `cert_file` needs `key_file`"],
        ),
        (
            block("cert_file = \"@nothing\"\n    key_file = \"@a.key\""),
            "Path(`/`)",
            "",
            &["4:17 E002 `cert_file` cannot be read: no such file"],
        ),
        (
            block(&format!("{pair}\n    min_version = \"1.1\"")),
            "Path(`/`)",
            "",
            &["6:19 E006 `1.1` is not one of `1.2`, `1.3`; did you mean `1.2`?"],
        ),
        (
            block(&format!("{pair}\n    alpn = [\"h2\", \"\"]")),
            "Path(`/`)",
            "",
            &["6:19 E006 the name of a protocol has 1 to 255 bytes"],
        ),
        (
            block(&format!("{pair}\n    alpn = [\"HTTP/1.1\"]")),
            "Path(`/`)",
            "",
            &[
                "6:12 E006 `web` is an entrypoint of HTTP, and its `alpn` names no HTTP; the names are `h2` and `http/1.1`",
            ],
        ),
        (
            block(&format!("{pair}\n    handshake_timeout = 0")),
            "Path(`/`)",
            "",
            &["6:25 E008 `handshake_timeout` is out of range: 0s is not from 1ms to 1h"],
        ),
        (
            block("cert_file = \"@old.pem\"\n    key_file = \"@old.key\""),
            "Path(`/`)",
            "",
            &["4:17 W012 `@old.pem`: the certificate has expired"],
        ),
        (
            block(pair),
            "Path(`/`)",
            asks,
            &[
                "12:5 E013 router `web` takes requests for any host, and clients are asked by the name that they come to; write the names with Host()",
            ],
        ),
        (
            block(pair),
            "Host(`a.test`) || Path(`/`)",
            asks,
            &[
                "12:5 E013 router `web` takes requests for any host, and clients are asked by the name that they come to; write the names with Host()",
            ],
        ),
        (
            block(pair),
            "Host(`127.0.0.1`)",
            asks,
            &[
                "12:5 E013 router `web` takes requests for an address, which is no name that clients come to in TLS",
            ],
        ),
        (
            String::new(),
            "Host(`a.test`)",
            asks,
            &[
                "9:5 E013 router `web` asks clients who they are, and entrypoint `web` has no TLS; name entrypoints with `tls`",
            ],
        ),
        (block(pair), "Host(`a.test`, `*.b.test`)", asks, &[]),
    ] {
        let text = pems.fill(&with(&tls, rule, router));
        let expected: Vec<_> = expected.iter().map(|line| pems.fill(line)).collect();
        let found = told(&text);
        if found != expected {
            wrong.push(format!(
                "{tls} {router}\n  told {found:#?}\n  not  {expected:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_routers_do_not_ask_different_things_under_one_name() {
    let pems = Pems::new();
    let asks = |mode: &str| {
        format!(
            "tls {{\n    client_auth {{\n      ca_file = \"@a.pem\"\n      mode = \"{mode}\"\n    }}\n  }}"
        )
    };
    let other = |mode: &str| {
        format!(
            "routers \"other\" {{\n  rule = \"Host(`a.test`) && Path(`/other`)\"\n  service = \"web\"\n  {}\n}}\n",
            asks(mode)
        )
    };
    let text = |mode| {
        let first = with(&block(PAIR), "Host(`a.test`)", &asks("require"));
        pems.fill(&format!("{first}{}", other(mode)))
    };
    good(&text("require"));
    assert_eq!(
        told(&text("optional")),
        [
            "27:5 E013 routers `web` and `other` ask different things of clients who come to one name"
        ]
    );
}

#[test]
fn files_of_no_use_keep_a_gateway_from_starting_and_are_told_by_place() {
    let pems = Pems::new();
    for (keys, expected) in [
        (
            "cert_file = \"@empty\"\n    key_file = \"@a.key\"",
            "4:17 E018 `@empty`: there is no certificate in it",
        ),
        (
            "cert_file = \"@a.pem\"\n    key_file = \"@a.pem\"",
            "5:16 E018 `@a.pem`: there is no private key in it",
        ),
        (
            "cert_file = \"@a.pem\"\n    key_file = \"@b.key\"",
            "5:16 E018 `@b.key`: the key is that of another certificate",
        ),
        (
            "certificates = [{ cert_file = \"@b.pem\", key_file = \"@a.key\" }]",
            "4:COLUMN E018 `@a.key`: the key is that of another certificate",
        ),
    ] {
        let text = pems.fill(&with(&block(keys), "Path(`/`)", ""));
        let running = loaded(&text);
        assert!(running.config.is_some(), "{keys}");
        let starting = running.without_unusable_files();
        assert!(starting.config.is_none(), "{keys}");
        let found = lines(&starting.diagnostics);
        let column = found[0].split([':', ' ']).nth(1).unwrap().to_owned();
        let expected = pems.fill(expected).replace("COLUMN", &column);
        assert_eq!(found, [expected]);
    }
}
