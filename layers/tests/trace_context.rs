//! Trace contexts: what is read, what is not believed, and what is written of it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::trace_context::{Decision, Incoming, Sampler, TraceContext, TraceContextLayer};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use std::convert::Infallible;
use tower::{ServiceBuilder, ServiceExt, service_fn};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SHORT: &str = "a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const PARENT: &str = "05e3ac9a4f6e3b90";
const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

/// `name: value` in each line; `T`, `S`, `P` stand for the IDs.
fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let value = value
            .trim()
            .replace('T', TRACE)
            .replace('U', SHORT)
            .replace('S', SPAN)
            .replace('P', PARENT);
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn read(text: &str) -> Incoming {
    Incoming::read(&headers(text))
}

/// What a hop that records half of what is new sends on.
fn sent(text: &str) -> (TraceContext, HeaderMap) {
    let mut headers = headers(text);
    let incoming = Incoming::read(&headers);
    let context = incoming.next(Sampler::ratio(0.5));
    incoming.tidy(&mut headers);
    context.write(&mut headers);
    (context, headers)
}

fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn each_form_is_read() {
    use Decision::{Accepted, Debug, Denied};
    for (text, short, parent, decision) in [
        ("traceparent: 00-T-S-01", false, true, Some(Accepted)),
        ("traceparent: 00-T-S-00", false, true, Some(Denied)),
        ("traceparent: 00-T-S-03", false, true, Some(Accepted)),
        ("traceparent: 00-T-S-fe", false, true, Some(Denied)),
        ("traceparent: cc-T-S-01", false, true, Some(Accepted)),
        (
            "traceparent: cc-T-S-01-what-the-future-brings",
            false,
            true,
            Some(Accepted),
        ),
        ("b3: T-S", false, true, None),
        ("b3: T-S-1", false, true, Some(Accepted)),
        ("b3: U-S-0", true, true, Some(Denied)),
        ("b3: T-S-d-P", false, true, Some(Debug)),
        ("x-b3-traceid: T\nx-b3-spanid: S", false, true, None),
        (
            "x-b3-traceid: U\nx-b3-spanid: S\nx-b3-parentspanid: P\nx-b3-sampled: 1",
            true,
            true,
            Some(Accepted),
        ),
        (
            "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-sampled: false",
            false,
            true,
            Some(Denied),
        ),
        (
            "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-flags: 1",
            false,
            true,
            Some(Debug),
        ),
    ] {
        let incoming = read(text);
        let trace = incoming.trace_id().map(|id| id.to_string());
        let expected = match short {
            true => format!("{:0>32}", SHORT),
            false => TRACE.to_owned(),
        };
        assert_eq!(trace.as_deref(), Some(&*expected), "{text}");
        let span = incoming.parent().map(|id| id.to_string());
        assert_eq!(span.as_deref(), parent.then_some(SPAN), "{text}");
        assert_eq!(incoming.decision(), decision, "{text}");
    }
    for (text, decision) in [
        ("b3: 0", Denied),
        ("b3: 1", Accepted),
        ("b3: d", Debug),
        ("x-b3-sampled: 0", Denied),
        ("x-b3-sampled: true", Accepted),
        ("x-b3-flags: 1", Debug),
    ] {
        let incoming = read(text);
        assert_eq!((incoming.trace_id(), incoming.parent()), (None, None));
        assert_eq!(incoming.decision(), Some(decision), "{text}");
    }
}

#[test]
fn what_is_malformed_is_as_good_as_nothing() {
    for text in [
        "",
        "traceparent:",
        "traceparent: 00-T-S",
        "traceparent: 00-T-S-1",
        "traceparent: 00-T-S-0x",
        "traceparent: 00-T-S-01-",
        "traceparent: 00-T-S-01-more",
        "traceparent: 01-T-S-01.more",
        "traceparent: ff-T-S-01",
        "traceparent: 0-T-S-01",
        "traceparent: 00-T-0000000000000000-01",
        "traceparent: 00-00000000000000000000000000000000-S-01",
        "traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-S-01",
        "traceparent: 00_T_S_01",
        "traceparent: 00-T-S-01\ntraceparent: 00-T-S-01",
        "b3:",
        "b3: 2",
        "b3: T",
        "b3: T-",
        "b3: T-S-",
        "b3: T-S-2",
        "b3: T-S-1-",
        "b3: T-S-1-P-P",
        "b3: T-S-11",
        "b3: UT-S-1",
        "b3: 0000000000000000-S-1",
        "b3: T-0000000000000000-1",
        "b3: T-S-1\nb3: T-S-1",
        "x-b3-traceid: T",
        "x-b3-spanid: S",
        "x-b3-traceid: T\nx-b3-spanid: T",
        "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-sampled: yes",
        "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-flags: 2",
        "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-parentspanid: T",
        "x-b3-traceid: T\nx-b3-traceid: T\nx-b3-spanid: S",
        "x-b3-parentspanid: P\nx-b3-sampled: 1",
    ] {
        assert_eq!(read(text), Incoming::default(), "{text}");
        let (context, out) = sent(text);
        assert_ne!(context.trace_id.to_string(), TRACE);
        assert_eq!(context.parent, None);
        // What nobody believes is not sent on.
        let names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["traceparent"], "{text}");
        assert_eq!(out.get_all("traceparent").iter().count(), 1);
    }
}

#[test]
fn a_context_goes_on_in_the_form_in_which_it_came() {
    let (context, out) = sent("traceparent: 00-T-S-01");
    let span = context.span_id;
    assert_eq!(
        get(&out, "traceparent"),
        Some(&*format!("00-{TRACE}-{span}-01"))
    );
    assert_eq!(out.len(), 1);

    let (context, out) = sent("b3: U-S-d");
    let span = context.span_id;
    assert_eq!(
        get(&out, "b3"),
        Some(&*format!("{SHORT}-{span}-d-{SPAN}")),
        "the sender's span is the parent, and 64 bits stay 64"
    );
    assert_eq!(out.len(), 1);

    let (context, out) = sent("x-b3-traceid: T\nx-b3-spanid: S\nx-b3-flags: 1\nx-b3-sampled: 1");
    assert_eq!(get(&out, "x-b3-traceid"), Some(TRACE));
    assert_eq!(
        get(&out, "x-b3-spanid"),
        Some(&*context.span_id.to_string())
    );
    assert_eq!(get(&out, "x-b3-parentspanid"), Some(SPAN));
    assert_eq!(get(&out, "x-b3-flags"), Some("1"));
    assert_eq!(out.len(), 4);

    // Two forms say the same from there on, and W3C's is the one that is believed.
    let (context, out) = sent("traceparent: 00-T-S-01\nb3: U-S-0");
    let span = context.span_id;
    assert_eq!(
        get(&out, "traceparent"),
        Some(&*format!("00-{TRACE}-{span}-01"))
    );
    assert_eq!(get(&out, "b3"), Some(&*format!("{TRACE}-{span}-1-{SPAN}")));

    // A decision alone begins a trace, in its form.
    for (text, is_sampled) in [("b3: 1", true), ("b3: 0", false)] {
        let (context, out) = sent(text);
        assert_eq!(context.is_sampled(), is_sampled);
        let (trace, span) = (context.trace_id, context.span_id);
        let bit = u8::from(is_sampled);
        assert_eq!(get(&out, "b3"), Some(&*format!("{trace}-{span}-{bit}")));
        assert_eq!(out.len(), 1);
    }
}

#[test]
fn a_child_has_the_same_trace_and_the_span_above_as_its_parent() {
    let (context, mut out) = sent("b3: T-S-1");
    let child = context.child();
    child.write(&mut out);
    let (span, parent) = (child.span_id, context.span_id);
    assert_eq!(
        get(&out, "b3"),
        Some(&*format!("{TRACE}-{span}-1-{parent}"))
    );
    assert_ne!(span, parent);
}

#[test]
fn the_random_flag_goes_on_and_other_flags_do_not() {
    for (came, goes) in [("00", "00"), ("01", "01"), ("03", "03"), ("ff", "03")] {
        let (_, out) = sent(&format!("traceparent: 00-T-S-{came}"));
        let parent = get(&out, "traceparent").unwrap();
        assert!(parent.ends_with(&format!("-{goes}")), "{came}: {parent}");
    }
    let (context, out) = sent("");
    let flags = if context.is_sampled() { "03" } else { "02" };
    assert!(get(&out, "traceparent").unwrap().ends_with(flags));
}

#[test]
fn a_state_is_kept_where_it_is_sound_and_bounded() {
    let with = |state: &str| {
        let mut headers = headers("traceparent: 00-T-S-01");
        for line in state.lines() {
            headers.append("tracestate", line.parse().unwrap());
        }
        let incoming = Incoming::read(&headers);
        incoming.tidy(&mut headers);
        let lines = headers.get_all("tracestate").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        lines.join("\n")
    };
    for state in [
        STATE,
        "fw529a3039@dt=FfAAAA,  b=3",
        "a=1,,b=2",
        "1a-_*/@=~ !",
    ] {
        assert_eq!(with(state), state);
    }
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("k{n}=v")).collect();
        members.join(",")
    };
    assert_eq!(with(&many(32)), many(32));
    for state in [
        "a",
        "=1",
        "A=1",
        "a=1=2",
        "a b=1",
        "-a=1",
        "a=1;b=\u{e9}",
        &many(33),
    ] {
        assert_eq!(with(state), "", "{state}");
    }
    assert_eq!(with("a=1\nb=2"), "a=1,b=2", "one line");
    // The large ones go first, then the last ones.
    let long = |key: &str, count: usize| format!("{key}={}", "v".repeat(count));
    let state = [
        long("a", 100),
        long("b", 200),
        long("c", 100),
        long("d", 100),
        long("e", 100),
        long("f", 100),
    ];
    let kept = [0, 2, 3, 4].map(|at: usize| state[at].clone()).join(",");
    assert_eq!(with(&state.join(",")), kept);

    let mut alone = headers("b3: T-S-1");
    alone.insert("tracestate", HeaderValue::from_static(STATE));
    Incoming::read(&alone).tidy(&mut alone);
    assert_eq!(get(&alone, "tracestate"), None);
}

#[test]
fn to_read_where_a_request_stands_allocates_nothing() {
    for text in [
        "",
        "traceparent: 00-T-S-00\ntracestate: a=1",
        "b3: T-S-0",
        "x-b3-traceid: T\nx-b3-spanid: S\nx-b3-sampled: 0",
    ] {
        let headers = headers(text);
        let measured = allocation_counter::measure(|| {
            let incoming = Incoming::read(&headers);
            assert!(!incoming.next(Sampler::ratio(0.0)).is_sampled());
        });
        assert_eq!(measured.count_total, 0, "{text}");
    }
}

#[test]
fn traces_are_sampled_by_ratio_where_nobody_has_decided() {
    let count = |ratio: f64, text: &str| {
        let incoming = read(text);
        let sampled = (0..10_000).filter(|_| incoming.next(Sampler::ratio(ratio)).is_sampled());
        sampled.count()
    };
    assert_eq!((count(0.0, ""), count(1.0, "")), (0, 10_000));
    assert_eq!((count(-1.0, ""), count(7.0, "")), (0, 10_000));
    assert_eq!(count(f64::NAN, ""), 0);
    let tenth = count(0.1, "");
    assert!((700..1_300).contains(&tenth), "{tenth} of 10000");
    // Somebody has.
    assert_eq!(count(0.0, "traceparent: 00-T-S-01"), 10_000);
    assert_eq!(count(1.0, "traceparent: 00-T-S-00"), 0);
    assert_eq!(count(1.0, "b3: 0"), 0);
    assert_eq!(count(0.0, "b3: d"), 10_000);
    // B3 leaves it open, and then one trace is decided on alike by everybody.
    assert_eq!(count(0.5, "b3: T-S") % 10_000, 0);
}

#[tokio::test]
async fn the_layer_tells_the_handler_and_those_it_asks() {
    let service = ServiceBuilder::new()
        .layer(TraceContextLayer::new(Sampler::ratio(1.0)))
        .service(service_fn(|request: Request<()>| async move {
            Ok::<_, Infallible>((
                *request.extensions().get::<TraceContext>().unwrap(),
                request.headers().clone(),
            ))
        }));
    let mut request = Request::new(());
    *request.headers_mut() = headers("b3: T-S-0\ntracestate: a=1");
    let (context, out) = service.clone().oneshot(request).await.unwrap();
    assert!(!context.is_sampled());
    assert_eq!(context.parent.unwrap().to_string(), SPAN);
    let span = context.span_id;
    assert_eq!(get(&out, "b3"), Some(&*format!("{TRACE}-{span}-0-{SPAN}")));
    assert_eq!(out.len(), 1);
    let (context, out) = service.oneshot(Request::new(())).await.unwrap();
    assert!(context.is_sampled());
    let (trace, span) = (context.trace_id, context.span_id);
    let parent = format!("00-{trace}-{span}-03");
    assert_eq!(get(&out, "traceparent"), Some(&*parent));
}

proptest! {
    #[test]
    fn nothing_that_comes_does_harm(
        lines in prop::collection::vec((0..8_usize, prop::collection::vec(any::<u8>(), 0..120)), 0..6)
    ) {
        const NAMES: [&str; 8] = [
            "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
            "x-b3-sampled", "x-b3-flags",
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(NAMES[name], value);
            }
        }
        check(headers)?;
    }

    #[test]
    fn what_is_nearly_right_does_no_harm(
        text in "(00|01|ff|0)-[0-9a-g]{31,33}-[0-9a-f]{15,17}(-[0-9d]{1,2}){0,2}(-[0-9a-f]{16})?",
        single in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        let (name, text) = match single {
            true => ("b3", text.split_once('-').unwrap().1.to_owned()),
            false => ("traceparent", text),
        };
        headers.insert(name, text.parse().unwrap());
        check(headers)?;
    }
}

/// Whatever came, what goes on is sound, is the same trace if there was one, and is read by the next hop as it is meant.
fn check(mut headers: HeaderMap) -> Result<(), TestCaseError> {
    let incoming = Incoming::read(&headers);
    let context = incoming.next(Sampler::ratio(0.5));
    incoming.tidy(&mut headers);
    context.write(&mut headers);
    let next = Incoming::read(&headers);
    prop_assert_eq!(next.trace_id(), Some(context.trace_id));
    prop_assert_eq!(next.parent(), Some(context.span_id));
    prop_assert_eq!(next.decision(), Some(context.decision()));
    if let Some(trace) = incoming.trace_id() {
        prop_assert_eq!(trace, context.trace_id);
    }
    let state: usize = headers
        .get_all("tracestate")
        .iter()
        .map(HeaderValue::len)
        .sum();
    prop_assert!(state <= 512);
    // Done twice, it is done once.
    let before = headers.clone();
    next.tidy(&mut headers);
    prop_assert_eq!(before, headers);
    Ok(())
}
