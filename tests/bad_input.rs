//! What a client sends that is no request, or more than one, is refused, and harms nobody else.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;
use support::{Client, End, Outcome, Server, Setup, TestGateway, Upload, eventually};

/// A request that must never be answered: it stands behind a bad one, where a parser that is out of step
/// would find it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n";

/// A server, a gateway, and an honest client that shares the upstream connection with everybody else.
struct Scene {
    server: Server,
    gateway: TestGateway,
    honest: Client,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let server = Server::start().await;
        let gateway = change(Setup::to(&server)).start().await;
        let honest = gateway.h1().await;
        let mut scene = Self {
            server,
            gateway,
            honest,
        };
        scene.nobody_is_harmed("before").await;
        scene
    }

    /// The honest client gets its own answer, on the one upstream connection that there is.
    async fn nobody_is_harmed(&mut self, what: &str) {
        let reply = self.honest.get("/honest").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (200, "/honest"),
            "{what}"
        );
        assert_eq!(self.server.accepted(), 1, "{what}: upstream connections");
        let strangers = self.server.seen();
        let stranger = strangers.iter().find(|seen| seen.target != "/honest");
        assert!(stranger.is_none(), "{what}: upstream saw {stranger:?}");
    }

    /// `input` is answered with `status` and the connection closed; nothing of it reaches the upstream.
    async fn refuses(&mut self, input: impl AsRef<[u8]>, status: u16) {
        let input = input.as_ref();
        let start = &input[..input.len().min(200)];
        let what = String::from_utf8_lossy(start).into_owned();
        println!("{what:?}");
        for input in [input, &[input, SMUGGLED.as_bytes()].concat()] {
            let (answer, rest, end) = self.gateway.ask_to_end(input).await;
            assert_eq!(answer.status(), status, "{what:?}: {answer:?}");
            assert_eq!(
                (String::from_utf8_lossy(&rest), end),
                ("".into(), End::Closed),
                "{what:?}"
            );
            self.nobody_is_harmed(&what).await;
        }
    }
}

#[tokio::test]
async fn a_malformed_request_line_gets_400() {
    let mut scene = Scene::new().await;
    for line in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1 more",
        "GET /a b HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET / HTTP/1.1\0",
        "GET /\0 HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\t HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "G\0T / HTTP/1.1",
        ": / HTTP/1.1",
    ] {
        let input = format!("{line}\r\nHost: test.example\r\n\r\n");
        scene.refuses(input, 400).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_get_400_or_nothing() {
    let mut scene = Scene::new().await;
    scene
        .refuses(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400)
        .await;
    scene
        .refuses(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400)
        .await;
    // A preface that turns out to be none.
    scene.refuses(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", 400).await;
}

#[tokio::test]
async fn a_malformed_field_line_gets_400() {
    let mut scene = Scene::new().await;
    for line in [
        &b"no colon"[..],
        b": no name",
        b"X-A : space before the colon",
        b"X-A\t: tab before the colon",
        b"X A: space in the name",
        b"X-\xc3\xa9: name that is not ASCII",
        b"X-A\0: NUL in the name",
        b"X-A: NUL in the \0 value",
        b"X-A: bare CR in the \r value",
        b"X-A: control \x01 character",
        b"X-A: one\r\n folded",
        b"X-A: one\r\n\tfolded",
        b" X-A: folded at once",
        b"X-A: bare LF\nX-B: 1",
        b"\nX-A: bare LF",
        b"X-A: bare LF\n",
        b"(X): a separator",
    ] {
        let head = [
            b"GET / HTTP/1.1\r\nHost: test.example\r\n",
            line,
            b"\r\n\r\n",
        ];
        scene.refuses(head.concat(), 400).await;
    }
    // Before anything else: there is no line to fold into.
    scene
        .refuses("GET / HTTP/1.1\r\n Host: test.example\r\n\r\n", 400)
        .await;
    scene
        .refuses("GET / HTTP/1.1\nHost: test.example\n\n", 400)
        .await;
}

#[tokio::test]
async fn a_target_that_is_too_long_gets_414() {
    let mut scene = Scene::new().await;
    for length in [33 << 10, 70 << 10, 3 << 20] {
        let target = "a".repeat(length);
        let input = format!("GET /{target} HTTP/1.1\r\nHost: test.example\r\n\r\n");
        scene.refuses(input, 414).await;
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_gets_431() {
    let mut scene = Scene::new().await;
    let one = "a".repeat(33 << 10);
    let many = "X-A: some value\r\n".repeat(101);
    let huge = "X-A: some value that is longer\r\n".repeat(50_000);
    for lines in [format!("X-A: {one}\r\n"), many, huge, one] {
        let input = format!("GET / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n");
        scene.refuses(input, 431).await;
    }
}

#[tokio::test]
async fn the_limits_of_a_header_are_those_of_the_configuration() {
    let mut scene = Scene::with(|setup| {
        setup
            .http("max_headers", 5)
            .http("max_header_bytes", "8KiB")
    })
    .await;
    let fields = |count| "X-A: 1\r\n".repeat(count);
    let head = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n")
    };
    assert_eq!(
        scene
            .gateway
            .ask(head("/honest", &fields(4)))
            .await
            .status(),
        200
    );
    scene.refuses(head("/", &fields(5)), 431).await;
    let long = "a".repeat(9000);
    scene
        .refuses(head("/", &format!("X-A: {long}\r\n")), 431)
        .await;
    scene.refuses(head(&format!("/{long}"), ""), 414).await;
}

#[tokio::test]
async fn a_dribbled_head_gets_408() {
    let timeout = Duration::from_millis(300);
    let mut scene = Scene::with(|setup| setup.http("header_timeout", "300ms")).await;
    for start in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: test.example\r\n",
    ] {
        let mut wire = scene.gateway.wire().await;
        let began = std::time::Instant::now();
        wire.send(start).await;
        // A byte now and then does not prolong it.
        let mut answer = Vec::new();
        for _ in 0..100 {
            let (heard, _) = wire.listen(Duration::from_millis(50)).await;
            answer.extend(heard);
            if !answer.is_empty() {
                break;
            }
            let _ = wire.try_send("x").await;
        }
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 408 "), "{start:?}: {text:?}");
        assert!(took >= timeout && took < timeout * 10, "{took:?}");
        wire.ended().await;
        scene.nobody_is_harmed(start).await;
    }
}

#[tokio::test]
async fn a_second_head_that_dribbles_gets_408_after_the_first_was_answered() {
    let scene = Scene::with(|setup| setup.http("header_timeout", "300ms")).await;
    let mut wire = scene.gateway.wire().await;
    wire.send("GET /honest HTTP/1.1\r\nHost: test.example\r\n\r\nGET /")
        .await;
    assert_eq!(wire.answer().await.status(), 200);
    let answer = wire.answer().await;
    assert_eq!(answer.status(), 408);
    assert_eq!(wire.rest().await, (Vec::new(), End::Closed));
}

#[tokio::test]
async fn a_bad_host_gets_400() {
    let mut scene = Scene::new().await;
    for hosts in [
        &[][..],
        &["test.example", "test.example"],
        &["test.example", "other.example"],
        &["a b"],
        &["münchen.example"],
        &["test.example:http"],
        &["test.example:65536"],
        &["test.example:1:2"],
        &["user@test.example"],
        &["test.example/path"],
        &["test.example?query"],
        &["test.example#fragment"],
        &["http://test.example"],
        &["[::1"],
        &["::1]"],
        &["[::1]x"],
        &["[::g]"],
        &["[test.example]"],
        &["test\\example"],
        &["%74est.example"],
        &["<test>"],
        &["\"test\""],
        &["a\u{7f}b"],
    ] {
        let lines: String = hosts
            .iter()
            .map(|host| format!("Host: {host}\r\n"))
            .collect();
        scene
            .refuses(format!("GET / HTTP/1.1\r\n{lines}\r\n"), 400)
            .await;
    }
    let long = "a".repeat(300);
    let input = format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n");
    scene.refuses(input, 400).await;
}

#[tokio::test]
async fn a_bad_content_length_gets_400() {
    let mut scene = Scene::new().await;
    for lengths in [
        &["1", "1"][..],
        &["1", "2"],
        &["0", "0"],
        &["1, 1"],
        &["1,2"],
        &[""],
        &["+1"],
        &["-1"],
        &["1 2"],
        &["0x1"],
        &["1e1"],
        &["1.0"],
        &["one"],
        &["1\u{b}"],
        &["18446744073709551615"],
        &["18446744073709551616"],
        &["99999999999999999999999999"],
    ] {
        let lines: String = lengths
            .iter()
            .map(|length| format!("Content-Length: {length}\r\n"))
            .collect();
        let input = format!("POST / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\nx");
        scene.refuses(input, 400).await;
    }
}

#[tokio::test]
async fn content_length_with_transfer_encoding_gets_400() {
    let mut scene = Scene::new().await;
    let chunked = "Transfer-Encoding: chunked";
    for (one, other) in [
        ("Content-Length: 5", chunked),
        (chunked, "Content-Length: 5"),
        ("content-length: 0", chunked),
        (chunked, "CONTENT-LENGTH: 0"),
        ("Content-Length: 5", "transfer-encoding: identity"),
        ("Content-Length: 5", "Transfer-Encoding:"),
    ] {
        let input = format!(
            "POST / HTTP/1.1\r\nHost: test.example\r\n{one}\r\nX-A: 1\r\n{other}\r\n\r\n0\r\n\r\n"
        );
        scene.refuses(input, 400).await;
    }
}

#[tokio::test]
async fn an_unknown_transfer_coding_gets_400() {
    let mut scene = Scene::new().await;
    for codings in [
        &["gzip"][..],
        &["identity"],
        &["gzip, chunked"],
        &["chunked, gzip"],
        &["chunked, chunked"],
        &["chunked", "chunked"],
        &["gzip", "chunked"],
        &["chunked", "identity"],
        &["xchunked"],
        &["chunkedx"],
        &["chunked;q=1"],
        &["\"chunked\""],
        &["\u{b}chunked"],
        &["chunked\u{c}"],
        &["chunked,"],
        &[""],
    ] {
        let lines: String = codings
            .iter()
            .map(|coding| format!("Transfer-Encoding: {coding}\r\n"))
            .collect();
        let input = format!("POST / HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n0\r\n\r\n");
        scene.refuses(input, 400).await;
    }
    // HTTP/1.0 has no transfer codings (RFC 9112, 6.1).
    let old =
        "POST / HTTP/1.0\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    scene.refuses(old, 400).await;
}

#[tokio::test]
async fn a_malformed_chunk_gets_400_and_the_upload_is_never_completed() {
    for chunks in [
        "-1\r\n\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "g\r\n\r\n0\r\n\r\n",
        "\r\n\r\n0\r\n\r\n",
        ";x\r\n\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1 2\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "10000000000000000\r\nx\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
        "0000000000000000000001\r\nx\r\n0\r\n\r\n",
        "1\r\nx\r\n0\nX-A: 1\r\n\r\n",
        "1\r\nx\r\n0\r\nX-A: bare\nX-B: 1\r\n\r\n",
        "1\r\nx\r\n0\r\nno colon\r\n\r\n",
    ] {
        println!("{chunks:?}");
        let server = Server::start().await;
        let gateway = Setup::to(&server).start().await;
        let mut honest = gateway.h1().await;
        honest.get("/honest").await;
        let input = format!(
            "POST /bad HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let (answer, rest, end) = gateway.ask_to_end(input).await;
        assert_eq!(answer.status(), 400, "{chunks:?}: {answer:?}");
        assert_eq!((rest.len(), end), (0, End::Closed), "{chunks:?}");
        for _ in 0..2 {
            let reply = honest.get("/honest").await;
            assert_eq!(reply.text(), "/honest", "{chunks:?}");
        }
        let seen = server.seen();
        if seen.iter().any(|seen| seen.target == "/bad") {
            eventually("the upload is over", || {
                server
                    .seen()
                    .iter()
                    .all(|seen| seen.upload != Upload::Running)
            })
            .await;
        }
        for seen in server.seen() {
            let is_fine = match seen.target.as_str() {
                "/honest" => seen.upload == Upload::Complete,
                "/bad" => seen.upload == Upload::Broken,
                _ => false,
            };
            assert!(is_fine, "{chunks:?}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_chunk_as_large_as_a_number_can_be_is_never_completed() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    for size in ["FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFE", "7FFFFFFFFFFFFFFF"] {
        let mut wire = gateway.wire().await;
        let head = "POST /bad HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        wire.send(format!("{head}{size}\r\nxyz\r\n0\r\n\r\n{SMUGGLED}"))
            .await;
        wire.end().await;
        let (answer, _) = wire.rest().await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400 "),
            "{text}"
        );
        let mut honest = gateway.h1().await;
        assert_eq!(honest.get("/honest").await.text(), "/honest");
    }
    eventually("the uploads are over", || {
        server
            .seen()
            .iter()
            .all(|seen| seen.upload != Upload::Running)
    })
    .await;
    for seen in server.seen() {
        let is_honest = seen.target == "/honest";
        let expected = if is_honest {
            Upload::Complete
        } else {
            Upload::Broken
        };
        assert_eq!(seen.upload, expected, "{seen:?}");
        assert_ne!(seen.target, "/smuggled");
    }
}

#[tokio::test]
async fn trailers_without_end_are_cut_off() {
    let server = Server::start().await;
    let gateway = Setup::to(&server).start().await;
    let head = "POST /bad HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = "X-A: some value that is longer\r\n".repeat(50_000);
    for rest in [
        format!("0\r\n{trailers}"),
        format!("1;{}", "a".repeat(3 << 20)),
    ] {
        let mut wire = gateway.wire().await;
        let _ = wire.try_send(format!("{head}{rest}")).await;
        // Meanwhile it is waited for no end: the gateway is the one to close.
        let (answer, _) = wire.rest().await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    }
    eventually("the uploads are broken off", || {
        server
            .seen()
            .iter()
            .all(|seen| seen.upload == Upload::Broken)
    })
    .await;
}

#[tokio::test]
async fn a_bad_target_gets_400() {
    let mut scene = Scene::new().await;
    for target in [
        "..",
        "no-slash",
        "*",
        "/..",
        "/../etc/passwd",
        "/a/../../b",
        "/%2e%2e/b",
        "/a/%2E%2e/.%2e/b",
        "//..",
        "/%",
        "/%1",
        "/%zz",
        "/%00",
        "/a%00b",
        "/\\é",
        "http://",
        "http:///path",
        "http://test.example/../..",
        "http://user@test.example/",
        "test.example:80",
        "/a#fragment\0",
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n\r\n");
        scene.refuses(input, 400).await;
    }
    let absolute_without_host = "GET http://test.example/ HTTP/1.1\r\n\r\n";
    scene.refuses(absolute_without_host, 400).await;
}

#[tokio::test]
async fn connect_gets_405() {
    let mut scene = Scene::new().await;
    for target in ["test.example:443", "/", "http://test.example/"] {
        let input = format!("CONNECT {target} HTTP/1.1\r\nHost: test.example\r\n\r\n");
        let (answer, rest, end) = scene.gateway.ask_to_end(&input).await;
        assert!(matches!(answer.status(), 400 | 405), "{target}: {answer:?}");
        assert_eq!((rest.len(), end), (0, End::Closed), "{target}");
        scene.nobody_is_harmed(target).await;
    }
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_wins_over_host() {
    let server = Server::start().await;
    let gateway = Setup::new()
        .route("good", "Host(`good.example`)", "good")
        .route("evil", "Host(`evil.example`)", "evil")
        .service("good", &server)
        .set("services/evil/respond/status", 403)
        .start()
        .await;
    let answer = gateway
        .ask("GET http://evil.example/x HTTP/1.1\r\nHost: good.example\r\n\r\n")
        .await;
    assert_eq!((answer.status(), server.requests()), (403, 0));
    let answer = gateway
        .ask("GET http://GOOD.example:80/x?y HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200);
    let seen = server.last();
    assert_eq!((&*seen.host, &*seen.target), ("GOOD.example:80", "/x?y"));
    assert_eq!(
        seen.header("x-forwarded-host").as_deref(),
        Some("GOOD.example:80")
    );
}

#[tokio::test]
async fn a_malformed_h2_request_gets_a_stream_error_or_400() {
    let mut scene = Scene::new().await;
    let pseudo = |path| {
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", path),
        ]
    };
    let with = |name, value| [&pseudo("/bad")[..], &[(name, value)]].concat();
    for fields in [
        with("connection", "close"),
        with("connection", "x-user"),
        with("keep-alive", "timeout=5"),
        with("proxy-connection", "keep-alive"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("te", "trailers, gzip"),
        with("host", "other.example"),
        with("X-Upper", "1"),
        with("x a", "1"),
        with("x-a", "1\r\nx-b: 2"),
        with("x-a", "1\0"),
        with("x-a\r\nx-b", "1"),
        with("", "1"),
        with(":path", "/again"),
        with(":unknown", "1"),
        with("content-length", "1"),
        with("content-length", "x"),
        pseudo("").to_vec(),
        pseudo("bad").to_vec(),
        pseudo("*").to_vec(),
        pseudo("/a b").to_vec(),
        pseudo("/\0").to_vec(),
        pseudo("/\r\nx: y").to_vec(),
        pseudo("/é").to_vec(),
        pseudo("/..").to_vec(),
        pseudo("/%00").to_vec(),
        pseudo("http://test.example/").to_vec(),
        pseudo("/bad")[..3].to_vec(),
        pseudo("/bad")[1..].to_vec(),
        [&pseudo("/bad")[..2], &pseudo("/bad")[3..]].concat(),
        [&[("x-a", "1")], &pseudo("/bad")[..]].concat(),
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a b"),
            (":path", "/bad"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "user@test.example"),
            (":path", "/bad"),
        ],
        vec![(":method", "CONNECT"), (":authority", "test.example:80")],
        with(":protocol", "websocket"),
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":authority", "test.example"),
        ],
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", "/.."),
        ],
    ] {
        let mut frames = scene.gateway.frames().await;
        frames.headers(1, &fields, true).await;
        let outcome = frames.outcome(1).await;
        let is_refused = matches!(
            outcome,
            Outcome::Status(400..=499) | Outcome::Reset(_) | Outcome::GoAway(_)
        );
        assert!(is_refused, "{fields:?}: {outcome:?}");
        scene.nobody_is_harmed(&format!("{fields:?}")).await;
    }
}

#[tokio::test]
async fn an_h2_stream_that_is_refused_leaves_its_neighbours_alone() {
    let scene = Scene::new().await;
    let mut frames = scene.gateway.frames().await;
    let fields = |path, te| {
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", path),
            ("te", te),
        ]
    };
    frames.headers(1, &fields("/bad", "gzip"), true).await;
    let refused = frames.outcome(1).await;
    assert!(
        matches!(refused, Outcome::Reset(_) | Outcome::Status(400)),
        "{refused:?}"
    );
    frames
        .headers(3, &fields("/honest", "trailers"), true)
        .await;
    assert_eq!(frames.outcome(3).await, Outcome::Status(200));
}

#[tokio::test]
async fn an_h2_header_that_is_too_large_is_refused() {
    let mut scene = Scene::with(|setup| setup.http("max_header_bytes", "8KiB")).await;
    // Over the bytes that are allowed, and over the number.
    for (count, length) in [(90, 100), (101, 1)] {
        let mut frames = scene.gateway.frames().await;
        let value = "v".repeat(length);
        let names: Vec<_> = (0..count).map(|n| format!("x-{n}")).collect();
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", "/bad"),
        ];
        fields.extend(names.iter().map(|name| (name.as_str(), value.as_str())));
        frames.headers(1, &fields, true).await;
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(
                outcome,
                Outcome::Status(431) | Outcome::Reset(_) | Outcome::GoAway(_)
            ),
            "{count} {length}: {outcome:?}"
        );
        let what = format!("{count} {length}");
        scene.nobody_is_harmed(&what).await;
    }
}
