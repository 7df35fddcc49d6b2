//! What is told of sessions.

use super::*;

fn with_sticky(servers: &str, sticky: &str) -> String {
    with(&format!(
        "services \"s\" {{\n  load_balancer {{\n    servers = [{{ url = \"{servers}\" }}]\n    sticky {{\n      {sticky}\n    }}\n  }}\n}}\nrouters \"s\" {{\n  rule = \"Path(`/s`)\"\n  service = \"s\"\n}}\n"
    ))
}

const NAME: &str = "not the name of a cookie: letters, digits and !#$%&'*+-.^_`|~, 256 at most";
const PATH: &str = "not the path of a cookie: it begins with a slash and has no `;`, no space and no control character";

#[test]
fn each_problem_is_told_where_it_is() {
    let name = format!("21:16 E006 {NAME}");
    let path = format!("22:14 E006 {PATH}");
    for (sticky, expected) in [
        ("cookie = \"sid\"", &[][..]),
        (
            "cookie = \"__Host-sid\"; secure = true; http_only = true; same_site = \"none\"; ttl = \"400d\"; secret = \"0123456789abcdef\"",
            &[],
        ),
        ("ttl = \"1h\"", &["20:5 E007 `cookie` is missing"]),
        ("cookie = \"\"", &[&*name]),
        ("cookie = \"a b\"", &[&*name]),
        (
            "cookie = \"__Host-a\"; path = \"/a\"",
            &[
                "21:16 E013 a cookie `__Host-...` needs `secure`",
                "21:16 E013 a cookie `__Host-...` needs the path `/`",
            ],
        ),
        (
            "cookie = \"a\"; same_site = \"none\"",
            &["22:19 E013 a cookie that goes along everywhere needs `secure`"],
        ),
        (
            "cookie = \"a\"; same_site = \"Lax\"; http_onli = true",
            &[
                "22:19 E006 `Lax` is not one of `strict`, `lax`, `none`; did you mean `lax`?",
                "23:7 E004 unknown key `http_onli`; did you mean `http_only`?",
            ],
        ),
        ("cookie = \"a\"; path = \"a;b\"", &[&*path]),
        (
            "cookie = \"a\"; ttl = \"999ms\"",
            &["22:13 E008 `ttl` is out of range: 999ms is not from 1s to 400d"],
        ),
        (
            "cookie = \"a\"; ttl = \"9601h\"",
            &["22:13 E008 `ttl` is out of range: 400d1h is not from 1s to 400d"],
        ),
        (
            "cookie = \"a\"; secret = \"\"",
            &["22:16 E006 the secret is empty"],
        ),
        (
            "cookie = \"a\"; secret = \"hunter2\"",
            &[
                "22:16 W010 a secret of fewer than 16 bytes can be guessed; make one with `openssl rand -base64 24`",
            ],
        ),
        (
            "cookie = \"a\"; to = \"revision\"",
            &["22:12 E013 service `s` has no revisions to keep a session at"],
        ),
    ] {
        let text = with_sticky("http://a", &sticky.replace("; ", "\n      "));
        assert_eq!(told(&text), expected, "{sticky}");
    }
}

#[test]
fn connections_have_no_cookies() {
    let text = with_sticky("tcp://a:1", "cookie = \"sid\"");
    let text = text.replace(
        "  rule = \"Path(`/s`)\"\n",
        "  rule = \"HostSNI(`*`)\"\n  entrypoints = [\"tcp\"]\n",
    ) + "entrypoints \"tcp\" {\n  address = \":1\"\n  protocol = \"tcp\"\n}\n";
    let expected = "20:5 E021 `sticky` is for requests, and the servers are for connections";
    assert_eq!(told(&text), [expected]);
}

#[test]
fn the_secret_is_told_to_nobody() {
    let text = with_sticky(
        "http://a",
        "cookie = \"sid\"\nsecret = \"correct horse battery\"",
    );
    let config = good(&text);
    let sticky = &config.services["s"].load_balancer.as_ref().unwrap().sticky;
    assert!(sticky.as_ref().unwrap().secret.is_some());
    let shown = serde_json::to_string(&config).unwrap();
    assert!(shown.contains(r#""secret":"***""#), "{shown}");
    for shown in [shown, format!("{config:?}")] {
        assert!(!shown.contains("horse"), "{shown}");
    }
    let broken = text.replace("cookie = \"sid\"", "cookie = 1");
    let told = loaded(&broken).diagnostics.to_string();
    assert!(!told.is_empty() && !told.contains("horse"), "{told}");
}
