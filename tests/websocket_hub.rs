//! Channels over one WebSocket, with Python's `websockets` as the client.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use std::process::Output;
use support::tls::Authority;
use support::{Process, Setup, Talk, TestGateway, tools, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn setup() -> Setup {
    Setup::new()
        .admin()
        .route("channels", "Path(`/channels`)", "hub")
        .set("services/hub/websocket_hub", json!({}))
}

fn hub(setup: Setup, key: &str, value: impl Into<Value>) -> Setup {
    setup.set(&format!("services/hub/websocket_hub/{key}"), value)
}

fn url(gateway: &TestGateway) -> String {
    format!("ws://{}/channels", gateway.address())
}

/// What the admin API tells of the hub.
async fn counts(gateway: &TestGateway) -> Value {
    let services = gateway.admin("/api/gateway/services").await;
    let mut services = services.as_array().unwrap().iter();
    let hub = services.find(|service| service["name"] == "hub");
    hub.unwrap()["websocket_hub"].clone()
}

/// A client that is subscribed to these channels.
async fn subscribed(gateway: &TestGateway, channels: &[&str]) -> Talk {
    let mut talk = Talk::open(url(gateway)).await;
    for channel in channels {
        talk.say(&format!("_sub:{channel}"));
    }
    is_heard(&mut talk).await;
    talk
}

/// What the client said before has been done.
async fn is_heard(talk: &mut Talk) {
    talk.say("_ping");
    assert_eq!(talk.hears().await, "_pong");
}

fn handshake(lines: &str) -> String {
    format!("GET /channels HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

fn upgrade(lines: &str) -> String {
    handshake(&format!(
        "connection: Upgrade\r\nupgrade: websocket\r\n{lines}"
    ))
}

#[tokio::test]
async fn clients_on_every_worker_share_channels() {
    let gateway = setup().with_all_workers().start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(subscribed(&gateway, &["all"]).await);
    }
    clients[0].say("_sub:two");
    is_heard(&mut clients[0]).await;
    for speaker in 0..4 {
        clients[speaker].say(&format!("all:from {speaker}"));
        for client in &mut clients {
            assert_eq!(client.hears().await, format!("all:from {speaker}"));
        }
    }
    clients[3].say("two:: grüß dich");
    assert_eq!(clients[0].hears().await, "two:: grüß dich");
    clients[1].say("_unsub:all");
    is_heard(&mut clients[1]).await;
    clients[1].say("all:and gone");
    assert_eq!(clients[0].hears().await, "all:and gone");
    is_heard(&mut clients[1]).await;
    let told = counts(&gateway).await;
    let expected = json!({
        "connections": 4,
        "channels": 2,
        "subscriptions": 4,
        "buffered_bytes": 0,
        "published": 6,
        "delivered": 20,
        "dropped": 0,
    });
    assert_eq!(told, expected);
    let series = "gateway_service_hub_delivered_total{service=\"hub\"}";
    assert_eq!(gateway.metric(series), Some(20.0));
    for client in &mut clients {
        client.close();
    }
    for mut client in clients {
        loop {
            let heard = client.hears().await;
            if heard.starts_with("closed") {
                assert_eq!(heard, "closed 1000 ");
                break;
            }
        }
    }
    within("everybody has left", async {
        while counts(&gateway).await["connections"] != 0 {}
    })
    .await;
    assert_eq!(counts(&gateway).await["channels"], 0);
}

#[tokio::test]
async fn what_is_no_command_is_told_and_what_is_no_message_closes() {
    let gateway = hub(setup(), "max_message", "1KiB").start().await;
    let mut client = subscribed(&gateway, &["a"]).await;
    for frame in ["_what", "no colon", ":x", "_sub:_a", "_sub:a:b", "_unsub:"] {
        client.say(frame);
        assert!(client.hears().await.starts_with("_error:"), "{frame}");
    }
    let longest = format!("a:{}", "x".repeat(1022));
    client.say(&longest);
    assert_eq!(client.hears().await, longest);
    client.say(&format!("{longest}x"));
    assert_eq!(client.hears().await, "closed 1009 the message is too long");
    let mut client = Talk::open(url(&gateway)).await;
    client.say("!binary");
    assert_eq!(client.hears().await, "closed 1003 messages are text");
}

#[tokio::test]
async fn a_request_that_opens_no_websocket_is_refused() {
    let gateway = hub(setup(), "max_connections", 1).start().await;
    let key = format!("sec-websocket-key: {KEY}\r\n");
    let version = "sec-websocket-version: 13\r\n";
    let good = format!("{key}{version}");
    for (request, status) in [
        (handshake(""), 426),
        (handshake(&good), 426),
        (upgrade(&good).replace("websocket\r\n", "h2c\r\n"), 426),
        (upgrade(&key), 426),
        (upgrade(&format!("{key}sec-websocket-version: 12\r\n")), 426),
        (upgrade(version), 400),
        (
            upgrade(&format!("sec-websocket-key: short\r\n{version}")),
            400,
        ),
        (upgrade(&good).replace("GET", "PUT"), 400),
    ] {
        let answer = gateway.ask(&request).await;
        assert_eq!(answer.status(), status, "{request}");
        assert!(answer.text().contains("WebSocket"), "{answer:?}");
        if status == 426 {
            let versions = answer.header("sec-websocket-version");
            assert_eq!(versions.as_deref(), Some("13"), "{request}");
            let upgrade = answer.header("upgrade");
            assert_eq!(upgrade.as_deref(), Some("websocket"), "{request}");
        }
    }
    let mut open = gateway.wire().await;
    open.send(upgrade(&good)).await;
    let head = open.head().await;
    assert_eq!(head.status(), 101);
    let accept = head.header("sec-websocket-accept");
    assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let full = gateway.ask(upgrade(&good)).await;
    assert_eq!(full.status(), 503);
    assert_eq!(full.header("retry-after").as_deref(), Some("1"));
    // What was said together with the request.
    let mut hasty = gateway.wire().await;
    drop(open);
    within("there is room again", async {
        while gateway.ask(upgrade(&good)).await.status() != 101 {}
    })
    .await;
    within("and again", async {
        while counts(&gateway).await["connections"] != 0 {}
    })
    .await;
    let ping = b"\x81\x85\0\0\0\0_ping";
    hasty.send([upgrade(&good).as_bytes(), ping].concat()).await;
    assert_eq!(hasty.head().await.status(), 101);
    assert_eq!(hasty.exactly(7).await, b"\x81\x05_pong");
}

#[tokio::test]
async fn channels_are_shared_with_clients_over_tls() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.files("localhost");
    let tls = json!({ "cert_file": cert_file, "key_file": key_file });
    let setup = setup()
        .set("entrypoints/safe/address", "127.0.0.1:0")
        .set("entrypoints/safe/tls", tls);
    let gateway = setup.start().await;
    let mut plain = subscribed(&gateway, &["a"]).await;
    let safe = gateway.address_of("safe").await;
    let url = format!("wss://localhost:{}/channels", safe.port());
    let mut safe = Talk::trusting(&authority.file(), url);
    assert_eq!(safe.hears().await, "open");
    safe.say("_sub:a");
    safe.say("a:over TLS");
    assert_eq!(plain.hears().await, "a:over TLS");
    assert_eq!(safe.hears().await, "a:over TLS");
    safe.say("!binary");
    assert_eq!(safe.hears().await, "closed 1003 messages are text");
}

#[tokio::test]
async fn the_middlewares_of_the_router_judge_who_comes_in() {
    let limit = json!({ "type": "rate-limit", "rate": 1, "burst": 2, "period": "1h" });
    let gateway = setup()
        .set(
            "middlewares/keys",
            json!({ "type": "api-key", "keys": ["let-me-in-please"] }),
        )
        .set("middlewares/limit", limit)
        .set("routers/channels/middlewares", json!(["limit", "keys"]))
        .start()
        .await;
    let mut stranger = Talk::begin(url(&gateway), &[]);
    assert_eq!(stranger.hears().await, "refused 401");
    let key = ["X-API-Key: let-me-in-please"];
    let mut known = Talk::begin(url(&gateway), &key);
    assert_eq!(known.hears().await, "open");
    is_heard(&mut known).await;
    let mut eager = Talk::begin(url(&gateway), &key);
    assert_eq!(eager.hears().await, "refused 429");
    assert_eq!(counts(&gateway).await["connections"], 1);
}

#[tokio::test]
async fn connections_and_subscriptions_outlive_reloads() {
    let before = hub(setup(), "max_channels", 1);
    let gateway = before.start().await;
    let mut old = subscribed(&gateway, &["news"]).await;
    old.say("_sub:more");
    assert!(old.hears().await.starts_with("_error:_sub:more: "));
    // Another router and other limits.
    let mut after = hub(before.without("routers/channels"), "max_channels", 2).route(
        "other",
        "PathPrefix(`/chan`)",
        "hub",
    );
    for burst in 2..20 {
        after = hub(after, "channel_buffer", burst);
        gateway.become_(&after).await;
    }
    let mut new = subscribed(&gateway, &["news", "more"]).await;
    new.say("news:still there");
    assert_eq!(old.hears().await, "news:still there");
    assert_eq!(new.hears().await, "news:still there");
    old.say("_sub:more");
    old.say("more:of it");
    assert_eq!(old.hears().await, "more:of it");
    assert_eq!(new.hears().await, "more:of it");
    assert_eq!(counts(&gateway).await["published"], 2);
    // Where nothing leads there any more, those who are there stay.
    let gone = Setup::new()
        .route("none", "Path(`/none`)", "none")
        .set("services/none/respond/body", "");
    gateway.become_(&gone).await;
    new.say("news:the last");
    assert_eq!(old.hears().await, "news:the last");
    assert_eq!(new.hears().await, "news:the last");
    let mut late = Talk::begin(url(&gateway), &[]);
    assert_eq!(late.hears().await, "refused 404");
}

#[tokio::test]
async fn at_the_end_clients_are_told() {
    let gateway = setup().with_all_workers().start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(subscribed(&gateway, &["a"]).await);
    }
    within("the gateway ends", gateway.shutdown()).await;
    for client in &mut clients {
        assert_eq!(client.hears().await, "closed 1001 the gateway goes away");
    }
}

#[tokio::test]
async fn channels_are_shared_with_clients_in_streams_of_http2() {
    let gateway = setup().start().await;
    let mut client = tools::python("hub_h2.py");
    client.arg(gateway.address().port().to_string());
    let output = tokio::task::spawn_blocking(move || client.output());
    let output = within("the client ends", output).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Runs a crowd of clients at a hub; see the program.
async fn crowd(url: String, readers: u32, sleepers: u32, messages: u32, bytes: u32) -> Output {
    let numbers = [readers, sleepers, messages, bytes].map(|number| number.to_string());
    let mut crowd = tools::python("hub_crowd.py");
    crowd.arg(url).args(numbers);
    let running = tokio::task::spawn_blocking(move || crowd.output().unwrap());
    tokio::time::timeout(support::DEADLINE * 12, running)
        .await
        .expect("a crowd that ends")
        .unwrap()
}

#[tokio::test]
async fn a_hundred_readers_get_everything_beside_one_that_does_not_read() {
    let gateway = hub(setup(), "channel_buffer", 64)
        .with_all_workers()
        .start()
        .await;
    let output = crowd(url(&gateway), 100, 1, 700, 8 << 10).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(counts(&gateway).await["dropped"], 1);
}

#[tokio::test]
async fn a_burst_reaches_everybody_who_reads() {
    const BURST: usize = 5_000;
    let gateway = hub(setup(), "channel_buffer", 8)
        .with_all_workers()
        .start()
        .await;
    let frame = |text: &str| {
        let length = 0x80 | u8::try_from(text.len()).unwrap();
        [&[0x81, length, 0, 0, 0, 0], text.as_bytes()].concat()
    };
    let lines = format!("sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n");
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.wire().await;
        client.send(upgrade(&lines)).await;
        assert_eq!(client.head().await.status(), 101);
        client
            .send([frame("_sub:a"), frame("_ping")].concat())
            .await;
        assert_eq!(client.exactly(7).await, b"\x81\x05_pong");
        clients.push(client);
    }
    let burst = frame("a:payload").repeat(BURST);
    let mut publishers = [gateway.wire().await, gateway.wire().await];
    for publisher in &mut publishers {
        publisher.send(upgrade(&lines)).await;
        assert_eq!(publisher.head().await.status(), 101);
    }
    let readers = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let all = b"\x81\x09a:payload".repeat(2 * BURST);
            assert!(client.exactly(all.len()).await == all);
        })
    });
    let readers: Vec<_> = readers.collect();
    for publisher in &mut publishers {
        publisher.send(&burst).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(counts(&gateway).await["dropped"], 0);
}

/// What one that does not read may cost, beside what all of them share.
const FOR_EACH: u64 = 512 << 10;

#[tokio::test]
async fn clients_that_do_not_read_cost_a_bounded_memory() {
    let setup = hub(setup(), "max_buffered", "4MiB");
    let setup = hub(setup, "channel_buffer", 65_536);
    let gateway = Process::start(&setup.text(), &["web", "admin@internal"]).await;
    let url = format!("ws://{}/channels", gateway.address("web"));
    let warm = crowd(url.clone(), 1, 0, 20, 60 << 10).await;
    assert!(warm.status.success(), "{warm:?}");
    let before = gateway.resident_bytes();
    let mut most = before;
    let sleepers = 20;
    let running = crowd(url, 1, sleepers, 1500, 60 << 10);
    tokio::pin!(running);
    let output = loop {
        tokio::select! {
            output = &mut running => break output,
            () = tokio::time::sleep(support::DEADLINE / 1000) => most = most.max(gateway.resident_bytes()),
        }
    };
    assert!(output.status.success(), "{output:?}");
    println!("{} KiB", (most - before) / 1024);
    // Twice what may wait, and what is being read and written.
    let bound = (8 << 20) + u64::from(sleepers) * FOR_EACH;
    assert!(most - before < bound);
}
