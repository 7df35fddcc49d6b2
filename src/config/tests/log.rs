//! What is told of `log { }`.

use super::*;

fn with_log(log: &str) -> String {
    with(&format!("log {{\n  {log}\n}}\n"))
}

#[test]
fn a_level_or_a_filter_and_a_form_are_read() {
    let config = good(&with_log(""));
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(config.log.level.as_str(), "info");
    for level in ["off", "WARN", "trace", "info,a3s_gateway=debug", "h2=debug"] {
        let config = good(&with_log(&format!(
            "level = \"{level}\"\n  format = \"json\""
        )));
        assert_eq!(config.log.level.as_str(), level);
        assert_eq!(config.log.format, LogFormat::Json);
    }
}

#[test]
fn a_configuration_with_another_log_is_another() {
    let (quiet, loud) = (with_log("level = \"warn\""), with_log("level = \"debug\""));
    assert_ne!(good(&quiet), good(&loud));
}

#[test]
fn each_problem_is_told_where_it_is() {
    for (log, expected) in [
        (
            "level = \"dbug\"\n  format = \"xml\"",
            &[
                "18:11 E006 `dbug` is not one of off, error, warn, info, debug, trace",
                "19:12 E006 `xml` is not one of `text`, `json`",
            ][..],
        ),
        (
            "level = \"\"",
            &["18:11 E006 `` is not one of off, error, warn, info, debug, trace"],
        ),
        (
            "level = \"info,a3s_gateway\"",
            &["18:11 E006 `a3s_gateway` is not one of off, error, warn, info, debug, trace"],
        ),
        (
            "level = \"a3s_gateway=loud\"",
            &[
                "18:11 E006 `a3s_gateway=loud`: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
            ],
        ),
        (
            "level = 3\n  formt = \"json\"",
            &[
                "18:11 E005 expected a level such as \"info\", found 3",
                "19:3 E004 unknown key `formt`; did you mean `format`?",
            ],
        ),
    ] {
        assert_eq!(told(&with_log(log)), expected, "{log}");
    }
}
