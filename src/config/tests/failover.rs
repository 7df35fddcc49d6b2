//! What is told of services that lead to others.

use super::*;

const OTHER: &str = "services \"other\" {\n  respond { }\n}\n";

/// What is told where `backend` has this block, which begins in line 16 of the file.
fn told_with(block: &str, more: &str) -> Vec<String> {
    let text = MINIMAL.replace("  }\n}\n", &format!("  }}\n  {block}\n}}\n"));
    told(&format!("{text}{OTHER}{more}"))
}

#[test]
fn each_problem_is_told_where_it_is() {
    let no_status = "is neither the status of an error nor a range of them; write it like 404 or \"500-599\", from 400 to 599";
    for (block, expected) in [
        ("failover { service = \"other\" }", vec![]),
        (
            "failover {\n service = \"other\"\n on_status = [429, \"500-599\"]\n max_replay_bytes = 0\n}",
            vec![],
        ),
        (
            "failover { }",
            vec!["16:3 E007 `service` is missing".to_owned()],
        ),
        (
            "failover { service = \"othr\" }",
            vec![
                "16:24 E012 service `backend` names the unknown service `othr`; did you mean `other`?"
                    .to_owned(),
            ],
        ),
        (
            "failover {\n service = \"other\"\n on_status = [200, \"5xx\"]\n max_replay_bytes = \"65MiB\"\n}",
            vec![
                format!("18:15 E006 `200` {no_status}"),
                format!("18:20 E006 `5xx` {no_status}"),
                "19:21 E008 `max_replay_bytes` is out of range: 65MiB is not from 0B to 64MiB"
                    .to_owned(),
            ],
        ),
        (
            "failover { service = \"backend\" }",
            vec![
                "16:24 E019 services lead in a circle: backend -> backend".to_owned(),
            ],
        ),
        (
            "failover { service = \"admin@internal\" }",
            vec![
                "16:24 E012 service `backend` names the unknown service `admin@internal`"
                    .to_owned(),
            ],
        ),
    ] {
        let told: Vec<_> = told_with(block, "")
            .into_iter()
            .filter(|told| !told.contains("W004"))
            .collect();
        assert_eq!(told, expected, "{block}");
    }
}

#[test]
fn a_service_that_another_leads_to_is_used() {
    let unused = "no router uses service `other`";
    let told_of = |block: &str| told_with(block, "");
    assert!(told_of("").iter().any(|told| told.contains(unused)));
    assert_eq!(told_of("failover { service = \"other\" }"), [""; 0]);
    assert_eq!(told_of("mirror { service = \"other\" }"), [""; 0]);
}

#[test]
fn a_fixed_answer_has_no_failover() {
    let told = told(&with(
        "services \"other\" {\n  respond { }\n  failover { service = \"backend\" }\n}",
    ));
    assert_eq!(
        told,
        ["19:3 E013 a fixed answer never fails: `failover` of `other` has no use"]
    );
}

#[test]
fn services_that_lead_back_to_themselves_are_refused_whatever_way_they_take() {
    let service = |name: &str, block: &str, to: &str| {
        let servers = "load_balancer { servers = [{ url = \"http://a\" }] }";
        format!(
            "services \"{name}\" {{\n  {servers}\n  {block} {{\n    service = \"{to}\"\n  }}\n}}\n"
        )
    };
    let more = service("a", "failover", "b") + &service("b", "mirror", "c");
    let open = format!("{more}{}", service("c", "failover", "backend"));
    assert!(
        told(&with(&open))
            .iter()
            .all(|told| told.contains("W004") || told.contains("W002"))
    );
    let closed = format!("{more}{}", service("c", "failover", "a"));
    assert_eq!(
        told(&with(&closed)),
        ["20:15 E019 services lead in a circle: a -> b -> c -> a"]
    );
    // One after the other, and too far.
    let chain = |length: usize| -> String {
        let link = |n: usize| service(&format!("s{n}"), "failover", &format!("s{}", n + 1));
        let end = "services \"s0\" {\n  respond { }\n}\n".replace("s0", &format!("s{length}"));
        (0..length).rev().map(link).collect::<String>() + &end
    };
    assert!(
        told(&with(&chain(32)))
            .iter()
            .all(|told| told.contains("W004"))
    );
    assert!(
        told(&with(&chain(33)))
            .iter()
            .any(|told| told.ends_with("E019 more than 32 services lead to one another"))
    );
}

#[test]
fn services_lead_to_others_of_their_kind() {
    let tcp = |block: &str, to: &str| {
        format!(
            "entrypoints \"db\" {{\n  address = \":5432\"\n  protocol = \"tcp\"\n}}\nrouters \"db\" {{\n  rule = \"HostSNI(`*`)\"\n  entrypoints = [\"db\"]\n  service = \"db\"\n}}\nservices \"db\" {{\n  load_balancer {{ servers = [{{ url = \"tcp://a:1\" }}] }}\n  {block}\n}}\nservices \"to\" {{\n  load_balancer {{ servers = [{{ url = \"{to}\" }}] }}\n}}\n"
        )
    };
    for (block, to, expected) in [
        ("failover { service = \"to\" }", "tcp://b:1", &[][..]),
        (
            "failover { service = \"to\" }",
            "http://b:1",
            &["28:24 E021 service `db` takes connections, and service `to` is for requests"],
        ),
        (
            "failover {\n service = \"to\"\n on_status = [503]\n max_replay_bytes = 0\n}",
            "tcp://b:1",
            &[
                "30:14 E021 `on_status` is for requests, and the servers are for connections",
                "31:21 E021 `max_replay_bytes` is for requests, and the servers are for connections",
            ],
        ),
    ] {
        assert_eq!(told(&with(&tcp(block, to))), expected, "{block} {to}");
    }
    let told = told_with(
        "failover { service = \"db\" }",
        "services \"db\" {\n  load_balancer { servers = [{ url = \"tcp://a:1\" }] }\n}\n",
    );
    assert_eq!(
        told.first().map(String::as_str),
        Some("16:24 E021 service `backend` takes requests, and service `db` is for connections")
    );
}

#[test]
fn what_is_written_out_is_read_back() {
    let text = MINIMAL.replace(
        "  }\n}\n",
        "  }\n  failover {\n    service = \"other\"\n    on_status = [429, \"500-599\"]\n  }\n}\n",
    );
    let config = good(&format!("{text}{OTHER}"));
    let written = serde_json::to_value(&config.services["backend"].failover).unwrap();
    assert_eq!(
        written,
        serde_json::json!({ "service": "other", "on_status": [429, "500-599"], "max_replay_bytes": "64KiB" })
    );
    let read: FailoverConfig = serde_json::from_value(written).unwrap();
    assert_eq!(Some(read), config.services["backend"].failover);
}
