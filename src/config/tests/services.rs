//! What is told of services that lead to one another.

use super::*;

#[test]
fn each_problem_of_a_mirror_is_told_where_it_is() {
    for (block, expected) in [
        ("service = \"other\"", &[][..]),
        (
            "service = \"othr\"\npercentage = 101",
            &[
                "17:11 E012 service `backend` names the unknown service `othr`; did you mean `other`?",
                "18:14 E008 `percentage` is out of range: 101 is not from 0 to 100",
            ],
        ),
        (
            "service = \"other\"\nmax_body = \"2GiB\"\nmax_in_flight = 0\ntimeout = \"2h\"",
            &[
                "18:12 E008 `max_body` is out of range: 2GiB is not from 0B to 1GiB",
                "19:17 E008 `max_in_flight` is out of range: 0 is not from 1 to 100000",
                "20:11 E008 `timeout` is out of range: 2h is not from 1ms to 1h",
            ],
        ),
        (
            "service = \"other\"\nomit_headers = [\"a b\"]",
            &["18:17 E006 `a b` is not the name of a header"],
        ),
        (
            "service = \"backend\"",
            &["17:11 E019 services lead in a circle: backend -> backend"],
        ),
        (
            "service = \"tcp\"",
            &["17:11 E021 service `backend` takes requests, and service `tcp` is for connections"],
        ),
        ("percentage = 1", &["16:3 E007 `service` is missing"]),
    ] {
        let text = format!(
            "{}  mirror {{\n{block}\n}}\n}}\nservices \"other\" {{\n  respond {{ }}\n}}\nservices \"tcp\" {{\n  load_balancer {{ servers = [{{ url = \"tcp://127.0.0.1:1\" }}] }}\n}}\nentrypoints \"raw\" {{\n  address = \":1\"\n  protocol = \"tcp\"\n}}\nrouters \"raw\" {{\n  rule = \"HostSNI(`*`)\"\n  service = \"tcp\"\n  entrypoints = [\"raw\"]\n}}\nrouters \"other\" {{\n  rule = \"Host(`o`)\"\n  service = \"other\"\n}}\n",
            MINIMAL.trim_end().trim_end_matches('}')
        );
        assert_eq!(told(&text), expected, "{block}");
    }
}

#[test]
fn a_circle_of_services_is_told_once_with_its_way() {
    let lead = |name: &str, other: &str| {
        format!(
            "services \"{name}\" {{\n  respond {{ }}\n  mirror {{ service = \"{other}\" }}\n}}\n"
        )
    };
    let text = with(&(lead("a", "b") + &lead("b", "c") + &lead("c", "b")));
    assert_eq!(
        told(&text),
        ["23:22 E019 services lead in a circle: b -> c -> b"]
    );
}
