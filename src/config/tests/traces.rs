//! `tracing { }`.

#[cfg(feature = "otlp")]
use super::good;
use super::{MINIMAL, told};

fn with(keys: &str) -> String {
    format!("{MINIMAL}tracing {{\n{keys}\n}}\n")
}

/// The line of the block's first key.
fn first_line() -> usize {
    MINIMAL.lines().count() + 2
}

#[cfg(feature = "otlp")]
#[test]
fn what_is_not_written_is_as_documented() {
    use crate::config::OtlpProtocol;
    use std::time::Duration;

    let config = good(&with("otlp_endpoint = \"http://collector:4317\""));
    let tracing = config.tracing.unwrap();
    assert_eq!(tracing.otlp_endpoint.to_string(), "http://collector:4317/");
    assert_eq!(tracing.protocol, OtlpProtocol::Grpc);
    assert_eq!(tracing.sample, 0.1);
    assert_eq!(tracing.service_name, "a3s-gateway");
    assert_eq!(tracing.timeout, Duration::from_secs(10));
    assert_eq!(tracing.queue, 4_096);
    assert!(tracing.headers.is_empty());
    let text = serde_json::to_string(&crate::config::TracingConfig {
        headers: [("authorization".to_owned(), "hunter2".into())].into(),
        ..tracing
    });
    assert!(!text.unwrap().contains("hunter2"));
}

#[cfg(feature = "otlp")]
#[test]
fn each_problem_is_told_where_it_is() {
    let line = first_line();
    for (keys, expected) in [
        ("", &["-1:1 E007 `otlp_endpoint` is missing"][..]),
        (
            "otlp_endpoint = \"collector:4317\"\nprotocol = \"udp\"",
            &[
                "0:17 E006 the scheme is missing",
                "1:12 E006 `udp` is not one of `grpc`, `http`",
            ],
        ),
        (
            "otlp_endpoint = \"tcp://collector:4317\"",
            &["0:18 E006 it is asked for with `http` or `https`"],
        ),
        (
            "otlp_endpoint = \"http://collector/v1/traces\"\nsample = 1.5\ntimeout = \"2m\"\nqueue = 10\nservice_name = \"\"",
            &[
                "0:17 E013 gRPC has a path of its own, and the URL has another one",
                "1:10 E008 `sample` is out of range: 1.5 is not from 0 to 1",
                "2:11 E008 `timeout` is out of range: 2m is not from 1ms to 1m",
                "3:9 E008 `queue` is out of range: 10 is not from 100 to 1000000",
                "4:16 E006 the name of the service is empty",
            ],
        ),
        (
            "otlp_endpoint = \"h2c://collector:4317\"\nprotocol = \"http\"\nsample = -0.1\nratio = 1",
            &[
                "0:17 E013 `h2c` is for `protocol = \"grpc\"`",
                "2:10 E008 `sample` is out of range: -0.1 is not from 0 to 1",
                "3:1 E004 unknown key `ratio`",
            ],
        ),
        (
            "otlp_endpoint = \"http://collector\"\nheaders = { \"a b\" = \"1\", \"host\" = \"x\", \"k\" = \"hunter2\\n\", \"K\" = \"2\" }\ntls { insecure = true }",
            &[
                "1:13 E006 `a b` is not the name of a header",
                "1:26 E006 `host` is set by the gateway itself",
                "1:40 E006 the value of `k` has characters that a header cannot have",
                "1:59 E006 the header `K` is there twice",
                "2:1 E013 `otlp_endpoint` is not an `https` URL",
            ],
        ),
    ] {
        let found = told(&with(keys));
        let places: Vec<_> = expected
            .iter()
            .map(|told| {
                let (at, rest) = told.split_once(':').unwrap();
                format!("{}:{rest}", line as i64 + at.parse::<i64>().unwrap())
            })
            .collect();
        assert_eq!(found.len(), places.len(), "{keys}: {found:?}");
        for (found, place) in found.iter().zip(&places) {
            assert!(found.starts_with(place), "{found}\n{place}");
            assert!(!found.contains("hunter2"));
        }
    }
}

#[cfg(not(feature = "otlp"))]
#[test]
fn without_its_feature_the_block_says_so() {
    let line = first_line();
    let text = with("otlp_endpoint = \"http://collector:4317\"");
    let expected = format!("{line}:17 E006 this gateway was built without the feature `otlp`");
    assert_eq!(told(&text), [expected]);
}
