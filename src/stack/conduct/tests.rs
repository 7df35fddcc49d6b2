use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn conduct(max_resets: u32) -> Conduct {
    let mut conduct = Conduct::of_client(max_resets);
    assert_eq!(conduct.read(PREFACE), Ok(true));
    conduct
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How many of these may be sent; none where there is no end in sight.
fn allowed(conduct: &mut Conduct, frame: &[u8]) -> Option<u32> {
    let count = (0..100_000).find(|_| conduct.read(frame).is_err());
    // What was at fault was read no further.
    conduct.inbound = Frames::default();
    count
}

#[tokio::test(start_paused = true)]
async fn frames_of_control_are_given_in_time() {
    for (kind, payload) in [(4, 0), (6, 8), (2, 5), (8, 4), (0, 0), (7, 8), (0x10, 4)] {
        let frame = frame(kind, 0, 1, &vec![0; payload]);
        let mut conduct = conduct(1);
        assert_eq!(allowed(&mut conduct, &frame), Some(CONTROL), "{kind}");
        tokio::time::advance(CONTROL_TIME / 10).await;
        assert_eq!(allowed(&mut conduct, &frame), Some(CONTROL / 10), "{kind}");
        tokio::time::advance(100 * CONTROL_TIME).await;
        assert_eq!(allowed(&mut conduct, &frame), Some(CONTROL), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_works_may_send_them_for_ever() {
    let mut conduct = conduct(1);
    let window = frame(8, 0, 1, &[0, 0, 0, 1]);
    for stream in (1..100_000).step_by(2) {
        let asked = [
            frame(HEADERS, 5, stream, b"\x82"),
            frame(2, 0, stream, &[0; 5]),
            window.clone(),
        ];
        assert_eq!(conduct.read(&asked.concat()), Ok(true));
        assert!(conduct.wrote(&frame(DATA, 0, stream, b"an answer")));
        assert_eq!(conduct.read(&[&*window, &window].concat()), Ok(true));
    }
    assert_eq!(allowed(&mut conduct, &frame(DATA, 0, 1, b"x")), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_lived_may_be_reset() {
    let mut conduct = conduct(2000);
    let second = Duration::from_secs(1);
    let reset = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    // A thousand calls each second, whose deadlines pass.
    for at in 0..600u32 {
        for call in 0..1000 {
            let opened = frame(HEADERS, 5, 2 * (1000 * at + call) + 1, b"\x82");
            assert_eq!(conduct.read(&opened), Ok(true));
            if let Some(late) = at.checked_sub(3) {
                let late = reset(2 * (1000 * late + call) + 1);
                assert_eq!(conduct.read(&late), Ok(true), "{at} {call}");
            }
        }
        tokio::time::advance(second).await;
    }
    // One that is gone is reset as often as anything else is said.
    assert!(allowed(&mut conduct, &reset(1)).is_some());
}

#[tokio::test(start_paused = true)]
async fn half_of_the_streams_may_be_reset_and_some_more() {
    let reset = cancel();
    let mut streams = (1..)
        .step_by(2)
        .map(|stream| frame(HEADERS, 5, stream, b"\x82"));
    let mut open = |count| streams.by_ref().take(count).flatten().collect::<Vec<_>>();
    let mut tame = conduct(100);
    for _ in 0..10_000 {
        assert_eq!(tame.read(&open(2)), Ok(true));
        assert_eq!(tame.read(&reset), Ok(true));
    }
    let mut wild = conduct(100);
    let mut rapid = 0;
    let excess = loop {
        let read = wild.read(&[open(1), reset.clone()].concat());
        match read {
            Ok(_) => rapid += 1,
            Err(excess) => break excess,
        }
    };
    assert_eq!((rapid, excess), (199, Excess::Resets));
    wild.inbound = Frames::default();
    tokio::time::advance(RESETS_TIME / 10).await;
    let open = frame(HEADERS, 5, 999_999, b"\x82");
    assert_eq!(wild.read(&open), Ok(true));
    assert_eq!(
        allowed(&mut wild, &frame(RST_STREAM, 0, 999_999, &[0; 4])),
        Some(11)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_begins_an_answer_a_few_times() {
    let mut server = Conduct::of_server();
    let head = frame(HEADERS, 4, 1, b"\x08\x03103");
    assert!(server.wrote(PREFACE));
    assert_eq!(allowed(&mut server, &head), Some(HEADS));
    assert!(server.wrote(&frame(HEADERS, 5, 1, b"\x82")));
    assert_eq!(allowed(&mut server, &head), Some(HEADS_EARNED));
    assert_eq!(allowed(&mut server, &cancel()), Some(CONTROL));
    tokio::time::advance(HEADS_TIME / 2).await;
    assert_eq!(allowed(&mut server, &head), Some(HEADS / 2));
}

fn cancel() -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])
}

#[tokio::test(start_paused = true)]
async fn what_is_control_moves_nothing() {
    let mut conduct = conduct(1);
    for (kind, flags, payload, works) in [
        (4, 1, &b""[..], false),
        (6, 0, b"12345678", false),
        (8, 0, b"1234", true),
        (DATA, 0, b"", false),
        (DATA, END_STREAM, b"", true),
        (DATA, 0, b"x", true),
        (RST_STREAM, 0, b"1234", true),
    ] {
        let read = conduct.read(&frame(kind, flags, 1, payload));
        assert_eq!(read, Ok(works), "{kind}");
    }
    assert!(!conduct.wrote(&frame(6, 1, 0, b"12345678")));
    let data = frame(DATA, 0, 1, b"12");
    let (head, rest) = data.split_at(10);
    assert_eq!(conduct.read(head), Ok(true));
    assert_eq!(conduct.read(rest), Ok(true));
    assert!(conduct.wrote(head));
    assert_eq!(conduct.farewell(0), None);
    assert!(conduct.wrote(rest));
    assert!(conduct.farewell(0).is_some());
}
