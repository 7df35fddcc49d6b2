//! What is told of outliers.

use super::*;

fn with_outlier(outlier: &str) -> String {
    with(&format!(
        "services \"o\" {{\n  load_balancer {{\n    servers = [{{ url = \"http://a\" }}]\n    outlier {{\n      {outlier}\n    }}\n  }}\n}}\nrouters \"o\" {{\n  rule = \"Path(`/o`)\"\n  service = \"o\"\n}}\n"
    ))
}

#[test]
fn each_problem_is_told_where_it_is() {
    for (outlier, expected) in [
        ("", &[][..]),
        (
            "consecutive_errors = 0\n      max_ejected_percent = 0\n      window = 1\n      ejection = \"24h\"\n      max_ejection = \"1ms\"",
            &[],
        ),
        (
            "consecutive_errors = 1001\n      window = \"0s\"\n      ejection = 0\n      max_ejection = \"25h\"\n      max_ejected_percent = 101",
            &[
                "21:28 E008 `consecutive_errors` is out of range: 1001 is not from 0 to 1000",
                "22:16 E008 `window` is out of range: 0s is not from 1ms to 1h",
                "23:18 E008 `ejection` is out of range: 0s is not from 1ms to 1d",
                "24:22 E008 `max_ejection` is out of range: 1d1h is not from 1ms to 1d",
                "25:29 E008 `max_ejected_percent` is out of range: 101 is not from 0 to 100",
            ],
        ),
        (
            "window = \"61m\"\n      consecutive_errors = -1\n      max_ejected_percent = 50.5\n      ejecton = \"1s\"",
            &[
                "21:16 E008 `window` is out of range: 1h1m is not from 1ms to 1h",
                "22:28 E008 expected a whole number from 0 to 4294967295, found -1",
                "23:29 E008 expected a whole number from 0 to 255, found 50.5",
                "24:7 E004 unknown key `ejecton`; did you mean `ejection`?",
            ],
        ),
    ] {
        assert_eq!(told(&with_outlier(outlier)), expected, "{outlier}");
    }
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let manual = include_str!("../../../docs/services.md");
    let (_, section) = manual.split_once("## Outliers").unwrap();
    let block = section.split("```").nth(1).unwrap();
    let text = block.strip_prefix("hcl\n").unwrap();
    let text = MINIMAL
        .split("services \"backend\"")
        .next()
        .unwrap()
        .to_owned()
        + text;
    let config = good(&text);
    let balancer = config.services["backend"].load_balancer.as_ref().unwrap();
    assert_eq!(balancer.outlier, crate::config::OutlierConfig::default());
}
