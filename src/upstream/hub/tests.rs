//! A hub and its clients, over pipes.

use super::*;
use crate::stack::drain::{Drain, Phase};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What fits into a pipe: a client that does not read has no more than this on its way.
const PIPE: usize = 1 << 10;

const LIMITS: HubLimits = HubLimits {
    max_channels: 4,
    channel_buffer: 8,
    max_message: 4 << 10,
    max_connections: 4,
    max_buffered: 1 << 20,
};

/// More than the pipe and the buffer for writing hold.
fn long() -> String {
    "x".repeat(3 << 10)
}

struct Client {
    socket: WebSocketStream<DuplexStream>,
    drain: Arc<Drain>,
    serving: JoinHandle<bool>,
}

fn hub(limits: HubLimits) -> Arc<Hub> {
    Arc::new(Hub::new(limits))
}

/// A connection to a hub, as bytes.
fn open(hub: &Arc<Hub>) -> (DuplexStream, Arc<Drain>, JoinHandle<bool>) {
    let (ours, theirs) = duplex(PIPE);
    let drain = Arc::new(Drain::default());
    let mut ticket = drain.enter();
    let member = hub.enter().expect("a place");
    let serve = session::serve(member, theirs, move |cx| ticket.poll_phase(cx));
    (ours, drain, tokio::spawn(serve))
}

async fn client(hub: &Arc<Hub>) -> Client {
    let (stream, drain, serving) = open(hub);
    Client {
        socket: WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
        drain,
        serving,
    }
}

impl Client {
    async fn say(&mut self, frame: impl Into<Utf8Bytes>) {
        self.socket.send(Message::Text(frame.into())).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// What it said before has been done.
    async fn is_heard(&mut self) {
        self.say("_ping").await;
        assert_eq!(self.hears().await, "_pong");
    }

    async fn subscribed(mut self, channels: &[&str]) -> Self {
        for channel in channels {
            self.say(format!("_sub:{channel}")).await;
        }
        self.is_heard().await;
        self
    }

    /// Hears the code and reason that the connection is closed with.
    async fn end(self) -> (u16, String) {
        let Self {
            mut socket,
            serving,
            drain: _drain,
        } = self;
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    let told = (frame.code.into(), frame.reason.to_string());
                    assert!(socket.next().await.is_none());
                    drop(socket);
                    assert!(serving.await.unwrap());
                    return told;
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_message_goes_to_every_subscriber_of_its_channel() {
    let hub = hub(LIMITS);
    let mut one = client(&hub).await.subscribed(&["a", "b"]).await;
    let mut two = client(&hub).await.subscribed(&["a", "a"]).await;
    let mut neither = client(&hub).await;
    neither.say("a:from outside").await;
    neither.say("b:").await;
    neither.say("c:nobody").await;
    neither.is_heard().await;
    one.say("a:mine: mine").await;
    assert_eq!(one.hears().await, "a:from outside");
    assert_eq!(one.hears().await, "b:");
    assert_eq!(one.hears().await, "a:mine: mine");
    assert_eq!(two.hears().await, "a:from outside");
    assert_eq!(two.hears().await, "a:mine: mine");
    let counts = hub.counts();
    let expected = HubCounts {
        connections: 3,
        channels: 2,
        subscriptions: 3,
        buffered_bytes: 0,
        published: 4,
        delivered: 5,
        dropped: 0,
    };
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn what_waits_of_a_channel_is_not_sent_to_who_has_left_it() {
    let hub = hub(LIMITS);
    let mut reader = client(&hub).await.subscribed(&["a", "b"]).await;
    let mut writer = client(&hub).await;
    // The first fills what is on the way.
    for frame in [format!("b:{}", long()), "a:1".into(), "b:2".into()] {
        writer.say(frame).await;
    }
    writer.is_heard().await;
    reader.say("_unsub:a").await;
    reader.say("_unsub:never").await;
    tokio::task::yield_now().await;
    assert_eq!(reader.hears().await.len(), long().len() + 2);
    let mut rest = vec![reader.hears().await];
    reader.say("_ping").await;
    while rest.last().unwrap() != "_pong" {
        rest.push(reader.hears().await);
    }
    // It may have been written already when the client said so, and no later.
    rest.retain(|frame| frame != "a:1");
    assert_eq!(rest, ["b:2", "_pong"]);
    writer.say("a:3").await;
    writer.is_heard().await;
    reader.is_heard().await;
    assert_eq!(hub.counts().subscriptions, 1);
}

#[tokio::test]
async fn a_slow_reader_is_dropped_from_the_channel_and_told_when_it_reads_on() {
    let hub = hub(LIMITS);
    let mut slow = client(&hub).await.subscribed(&["fast", "calm"]).await;
    let mut quick = client(&hub).await.subscribed(&["fast"]).await;
    let mut writer = client(&hub).await;
    writer.say("calm:before").await;
    for number in 0..40 {
        writer.say(format!("fast:{number}{}", long())).await;
        assert!(quick.hears().await.starts_with(&format!("fast:{number}x")));
    }
    writer.say("calm:after").await;
    writer.is_heard().await;
    let counts = hub.counts();
    assert_eq!((counts.dropped, counts.subscriptions), (1, 2));
    // What waited of the channel is given up: the one other message is all that is kept.
    assert!(counts.buffered_bytes < 300, "{counts:?}");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "calm:after") {
        heard.push(slow.hears().await);
    }
    assert_eq!(heard[0], "calm:before");
    // What was on the way when it was dropped, in order and without a gap.
    let on_way = heard[1..heard.len() - 2].iter().enumerate();
    for (number, frame) in on_way {
        assert!(frame.starts_with(&format!("fast:{number}x")), "{frame}");
    }
    assert_eq!(heard[heard.len() - 2], "_dropped:fast");
    // And it may come back.
    slow.say("_sub:fast").await;
    slow.is_heard().await;
    writer.say("fast:again").await;
    assert_eq!(slow.hears().await, "fast:again");
}

#[tokio::test]
async fn a_burst_that_is_read_drops_nobody() {
    let hub = hub(HubLimits {
        channel_buffer: 1,
        ..LIMITS
    });
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = client(&hub).await.subscribed(&["a"]).await;
        readers.push(tokio::spawn(async move {
            for number in 0..1_000 {
                assert_eq!(reader.hears().await, format!("a:{number}"));
            }
            // Here it ends: what it would say of itself.
            reader
        }));
    }
    let mut writer = client(&hub).await.subscribed(&["b"]).await;
    for number in 0..1_000 {
        let frame = Message::Text(format!("a:{number}").into());
        writer.socket.feed(frame).await.unwrap();
    }
    writer.is_heard().await;
    for reader in readers {
        reader.await.unwrap().is_heard().await;
    }
    assert_eq!(hub.counts().dropped, 0);
}

#[tokio::test]
async fn who_is_dropped_again_and_again_is_told_once() {
    let hub = hub(LIMITS);
    let mut slow = client(&hub).await.subscribed(&["a"]).await;
    let mut writer = client(&hub).await;
    for times in 1..=5 {
        while hub.counts().dropped < times {
            writer.say(format!("a:{}", long())).await;
            writer.is_heard().await;
        }
        slow.say("_sub:a").await;
        while hub.counts().subscriptions == 0 {
            tokio::task::yield_now().await;
        }
    }
    writer.say("a:now").await;
    let mut told = 0;
    loop {
        match &*slow.hears().await {
            "a:now" => break,
            "_dropped:a" => told += 1,
            _ => assert_eq!(told, 0),
        }
    }
    assert_eq!(told, 1);
    assert_eq!(hub.counts().dropped, 5);
}

#[tokio::test]
async fn what_waits_in_the_whole_hub_is_bounded() {
    let limits = HubLimits {
        channel_buffer: 1_000,
        max_buffered: 256 << 10,
        ..LIMITS
    };
    let hub = hub(limits);
    let channels = ["a", "b", "c", "d"];
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(client(&hub).await.subscribed(&channels).await);
    }
    let mut writer = client(&hub).await.subscribed(&["a"]).await;
    let mut most = 0;
    for _ in 0..200 {
        for channel in channels {
            writer.say(format!("{channel}:{}", long())).await;
            if channel == "a" {
                // Whoever reads is not dropped for the sake of those who do not.
                assert!(writer.hears().await.starts_with("a:xxx"));
            }
        }
        writer.is_heard().await;
        most = most.max(hub.counts().buffered_bytes);
    }
    let bound = 2 * limits.max_buffered + 3 * limits.max_message;
    assert!((limits.max_buffered / 2..bound).contains(&most), "{most}");
    drop(slow);
    while hub.counts().connections > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.counts().buffered_bytes, 0);
}

#[tokio::test]
async fn a_connection_has_so_many_channels_and_a_hub_so_many_connections() {
    let hub = hub(LIMITS);
    let mut one = client(&hub).await.subscribed(&["a", "b", "c", "d"]).await;
    one.say("_sub:e").await;
    let refusal = "_error:_sub:e: a connection has at most 4 channels";
    assert_eq!(one.hears().await, refusal);
    one.say("_sub:a").await;
    one.say("_unsub:a").await;
    one.say("_sub:e").await;
    one.is_heard().await;
    assert_eq!(hub.counts().channels, 4);

    let others = [client(&hub).await, client(&hub).await, client(&hub).await];
    assert!(hub.enter().is_none());
    hub.set_limits(HubLimits {
        max_channels: 5,
        max_connections: 5,
        ..LIMITS
    });
    drop(hub.enter().expect("a place"));
    one.say("_sub:f").await;
    one.is_heard().await;
    assert_eq!(hub.counts().channels, 5);
    drop(others);
    drop(one);
    let empty = HubCounts {
        connections: 0,
        channels: 0,
        subscriptions: 0,
        buffered_bytes: 0,
        published: 0,
        delivered: 0,
        dropped: 0,
    };
    while hub.counts() != empty {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commands_that_are_none_are_told_of() {
    let hub = hub(LIMITS);
    let mut client = client(&hub).await;
    for frame in [
        "_what", "no colon", ":x", "_sub:", "_sub:a:b", "_unsub:_", "",
    ] {
        client.say(frame).await;
        assert!(client.hears().await.starts_with("_error:"), "{frame}");
    }
    client.is_heard().await;
}

#[tokio::test]
async fn frames_that_must_not_be_close_the_connection_with_a_code() {
    // The mask is of zeros.
    let frame = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
    for (bytes, code, why) in [
        (frame(&[0x82, 0x81], b"b"), 1003, "messages are text"),
        // A message, or a frame, that says it is longer than it may be.
        (
            frame(&[0x81, 0xfe, 0x10, 0x01], b""),
            1009,
            "the message is too long",
        ),
        (
            frame(
                &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                b"",
            ),
            1009,
            "the message is too long",
        ),
        (
            frame(&[0x81, 0x82], &[0xc3, 0x28]),
            1007,
            "the text is not UTF-8",
        ),
        (frame(&[0xf1, 0x81], b"b"), 1002, ""),
        (frame(&[0x83, 0x81], b"b"), 1002, ""),
        (frame(&[0x80, 0x81], b"b"), 1002, ""),
        (frame(&[0x09, 0x81], b"b"), 1002, ""),
        (frame(&[0x89, 0xfe, 0x00, 0x7e], &[0; 126]), 1002, ""),
        // Unmasked.
        (b"\x81\x05_ping".to_vec(), 1002, ""),
    ] {
        let hub = hub(LIMITS);
        let (mut stream, drain, serving) = open(&hub);
        stream.write_all(&bytes).await.unwrap();
        let client = Client {
            socket: WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
            drain,
            serving,
        };
        let closed = client.end().await;
        assert_eq!(closed, (code, why.to_owned()), "{bytes:x?}");
        assert_eq!(hub.counts().connections, 0);
    }
}

#[tokio::test]
async fn pieces_of_a_message_are_put_together_up_to_its_longest() {
    let hub = hub(LIMITS);
    let (mut stream, drain, serving) = open(&hub);
    let mut text = b"\x01\x84\0\0\0\0_sub\x89\x80\0\0\0\0\x80\x82\0\0\0\0:a".to_vec();
    for _ in 0..5 {
        text.extend(b"\x81\x83\0\0\0\0a:b");
    }
    stream.write_all(&text).await.unwrap();
    let mut client = Client {
        socket: WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
        drain,
        serving,
    };
    assert!(matches!(
        client.socket.next().await,
        Some(Ok(Message::Pong(_)))
    ));
    for _ in 0..5 {
        assert_eq!(client.hears().await, "a:b");
    }
    // 64 pieces of 100 bytes are more than 4 KiB.
    let stream = client.socket.get_mut();
    stream.write_all(b"\x01\x82\0\0\0\0a:").await.unwrap();
    let piece = [b"\x00\xe4\0\0\0\0", &[b'x'; 100][..]].concat();
    for _ in 0..64 {
        if stream.write_all(&piece).await.is_err() {
            break;
        }
    }
    assert_eq!(client.end().await.0, 1009);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_asked_and_then_left() {
    let hub = hub(LIMITS);
    let mut answers = client(&hub).await;
    let (_silent, _drain, mut serving) = open(&hub);
    let begun = tokio::time::Instant::now();
    let patient = async {
        loop {
            let frame = answers.socket.next().await;
            assert!(matches!(frame, Some(Ok(Message::Ping(_)))), "{frame:?}");
        }
    };
    tokio::select! {
        () = patient => unreachable!(),
        ended = &mut serving => assert!(ended.unwrap()),
    }
    // A minute, and as long as the last words may take.
    assert_eq!(begun.elapsed().as_secs(), 65);
    answers.is_heard().await;
    let more = tokio::time::timeout(Duration::from_secs(600), async {
        while answers.socket.next().await.is_some() {}
    });
    assert!(more.await.is_err());
    answers.is_heard().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_to_go_is_sent_what_waits_and_then_a_close_frame() {
    let hub = hub(LIMITS);
    let mut reader = client(&hub).await.subscribed(&["a"]).await;
    let stuck = client(&hub).await.subscribed(&["a"]).await;
    let mut writer = client(&hub).await;
    for _ in 0..7 {
        writer.say(format!("a:{}", long())).await;
    }
    writer.is_heard().await;
    reader.drain.advance(Phase::Closing);
    stuck.drain.advance(Phase::Closing);
    while hub.counts().subscriptions > 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..7 {
        assert!(reader.hears().await.starts_with("a:x"));
    }
    let away = (1001, "the gateway goes away".to_owned());
    assert_eq!(reader.end().await, away);
    assert!(!stuck.serving.is_finished());
    stuck.drain.advance(Phase::ClosingIdle);
    assert!(stuck.serving.await.unwrap());
    writer.is_heard().await;
}

#[tokio::test]
async fn a_close_of_the_client_is_answered() {
    let hub = hub(LIMITS);
    let mut client = client(&hub).await.subscribed(&["a"]).await;
    client.socket.close(None).await.unwrap();
    while let Some(Ok(_)) = client.socket.next().await {}
    assert!(client.serving.await.unwrap());
    assert_eq!(hub.counts().connections, 0);
}

#[tokio::test]
async fn who_breaks_off_leaves_nothing_behind() {
    let hub = hub(LIMITS);
    let client = client(&hub).await.subscribed(&["a"]).await;
    drop(client.socket);
    assert!(!client.serving.await.unwrap());
    assert_eq!((hub.counts().connections, hub.counts().channels), (0, 0));
}

#[test]
fn publishers_and_subscribers_on_many_threads_agree_on_the_order() {
    let hub = hub(HubLimits {
        channel_buffer: 1 << 20,
        ..LIMITS
    });
    let members: Vec<_> = (0..4).map(|_| hub.enter().unwrap()).collect();
    std::thread::scope(|scope| {
        for (number, member) in members.iter().enumerate() {
            let hub = &hub;
            scope.spawn(move || {
                member.subscribe("all").unwrap();
                for round in 0..500 {
                    hub.publish("all", &format!("all:{number}.{round}"), &mut Vec::new());
                    // Others come and go.
                    let own = format!("{}", round % 3);
                    member.subscribe(&own).unwrap();
                    hub.publish(&own, &format!("{own}:x"), &mut Vec::new());
                    member.unsubscribe(&own);
                }
            });
        }
    });
    let heard: Vec<Vec<_>> = members
        .iter()
        .map(|member| std::iter::from_fn(|| member.next()).collect())
        .collect();
    let shortest = heard.iter().map(Vec::len).min().unwrap();
    // They came at different times; from then on each has everything.
    let tails = heard.iter().map(|heard| &heard[heard.len() - shortest..]);
    for tail in tails {
        assert_eq!(tail, &heard[0][heard[0].len() - shortest..]);
    }
    drop((members, heard));
    assert_eq!((hub.counts().channels, hub.counts().buffered_bytes), (0, 0));
}

/// What a member should hear, as simply as it can be said.
#[derive(Default)]
struct Model {
    subscribed: Vec<String>,
    queue: Vec<String>,
    is_stuck: bool,
}

#[test]
fn an_outbox_does_what_it_should_whatever_happens_in_whatever_order() {
    let limits = HubLimits {
        max_channels: 3,
        channel_buffer: 3,
        ..LIMITS
    };
    let hub = hub(limits);
    let mut random = fastrand::Rng::with_seed(7);
    let members: Vec<_> = (0..3).map(|_| hub.enter().unwrap()).collect();
    let mut models: Vec<_> = members.iter().map(|_| Model::default()).collect();
    for step in 0..20_000 {
        let who = random.usize(..3);
        let channel = random.choice(["a", "b", "c", "d"]).unwrap();
        let (member, model) = (&members[who], &mut models[who]);
        let of_channel = |frame: &String| frame.starts_with(&format!("{channel}:"));
        let dropped = format!("_dropped:{channel}");
        match random.u8(..10) {
            0..2 => {
                let untold = model.queue.iter().filter(|frame| frame.starts_with('_'));
                let mut known = model.subscribed.clone();
                known.extend(untold.map(|frame| frame["_dropped:".len()..].to_owned()));
                known.sort();
                known.dedup();
                let is_known = known.iter().any(|name| name == channel);
                let may = is_known || known.len() < 3;
                assert_eq!(member.subscribe(channel).is_ok(), may, "{step}");
                if may && !model.subscribed.iter().any(|name| name == channel) {
                    model.subscribed.push((*channel).to_owned());
                }
            }
            2 => {
                member.unsubscribe(channel);
                if model.subscribed.iter().any(|name| name == channel) {
                    model.subscribed.retain(|name| name != channel);
                    model.queue.retain(|frame| !of_channel(frame));
                }
            }
            3..7 => {
                let frame = format!("{channel}:{step}");
                let mut behind = Vec::new();
                hub.publish(channel, &frame, &mut behind);
                let mut are_behind = 0;
                for model in &mut models {
                    if !model.subscribed.iter().any(|name| name == channel) {
                        continue;
                    }
                    let waiting = model.queue.iter().filter(|frame| of_channel(frame));
                    let waiting = waiting.count();
                    if waiting < 3 || !model.is_stuck {
                        model.queue.push(frame.clone());
                        are_behind += usize::from(waiting >= 1 && !model.is_stuck);
                        continue;
                    }
                    model.subscribed.retain(|name| name != channel);
                    model.queue.retain(|frame| !of_channel(frame));
                    if !model.queue.contains(&dropped) {
                        model.queue.push(dropped.clone());
                    }
                }
                assert_eq!(behind.len(), are_behind, "{step}");
            }
            7 => {
                model.is_stuck = random.u8(..4) > 0;
                member.outbox.set_stuck(model.is_stuck);
            }
            _ => {
                let expected = (!model.queue.is_empty()).then(|| model.queue.remove(0));
                let heard = member.next().map(|frame| frame.to_string());
                assert_eq!(heard, expected, "{step}");
            }
        }
    }
    let subscriptions: usize = models.iter().map(|model| model.subscribed.len()).sum();
    assert_eq!(hub.counts().subscriptions, subscriptions);
    assert!(hub.counts().dropped > 100);
    for member in &members {
        while member.next().is_some() {}
    }
    assert_eq!(hub.counts().buffered_bytes, 0);
    drop(members);
    assert_eq!(hub.counts().channels, 0);
}
