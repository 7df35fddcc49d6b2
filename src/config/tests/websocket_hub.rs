//! What is told of hubs of channels.

use super::*;

/// What is told where there is a service `hub` with these blocks, which begin in line 17, and a router to it.
fn told_of(blocks: &str) -> Vec<String> {
    let router = "routers \"ws\" {\n  rule = \"Path(`/ws`)\"\n  service = \"hub\"\n}";
    told(&with(&format!(
        "services \"hub\" {{\n  {blocks}\n}}\n{router}"
    )))
}

#[test]
fn each_problem_is_told_where_it_is() {
    let beside = |block| format!("a hub has no server behind it: `{block}` of `hub` has no use");
    for (blocks, expected) in [
        ("websocket_hub { }", vec![]),
        (
            "websocket_hub {\n max_channels = 1\n channel_buffer = 1\n max_message = \"1KiB\"\n max_connections = 1\n max_buffered = \"1MiB\"\n}",
            vec![],
        ),
        (
            "websocket_hub {\n max_channels = 0\n channel_buffer = 65537\n max_message = 1023\n max_connections = 0\n max_buffered = \"1KiB\"\n}",
            vec![
                "19:17 E008 `max_channels` is out of range: 0 is not from 1 to 10000".to_owned(),
                "20:19 E008 `channel_buffer` is out of range: 65537 is not from 1 to 65536"
                    .to_owned(),
                "21:16 E008 `max_message` is out of range: 1023B is not from 1KiB to 16MiB"
                    .to_owned(),
                "22:20 E008 `max_connections` is out of range: 0 is not from 1 to 1000000"
                    .to_owned(),
                "23:17 E008 `max_buffered` is out of range: 1KiB is not from 1MiB to 64GiB"
                    .to_owned(),
            ],
        ),
        (
            "websocket_hub { max_chanels = 1 }",
            vec!["18:19 E004 unknown key `max_chanels`; did you mean `max_channels`?".to_owned()],
        ),
        (
            "websocket_hub { max_message = \"1XiB\" }",
            vec!["18:35 E006 unknown unit `XiB`; the units are `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB` and `B`".to_owned()],
        ),
        (
            "websocket_hub { }\n respond { }",
            vec!["18:3 E013 service `hub` has both `respond` and `websocket_hub`".to_owned()],
        ),
        (
            "websocket_hub { }\n load_balancer {\n servers = [{ url = \"http://a\" }]\n }",
            vec![
                "18:3 E013 service `hub` has both `load_balancer` and `websocket_hub`".to_owned(),
            ],
        ),
        (
            "websocket_hub { }\n failover { service = \"backend\" }\n mirror { service = \"backend\" }",
            vec![
                format!("19:2 E013 {}", beside("failover")),
                format!("20:2 E013 {}", beside("mirror")),
            ],
        ),
    ] {
        assert_eq!(told_of(blocks), expected, "{blocks}");
    }
}

#[test]
fn no_request_is_led_to_a_hub_that_was_for_another_service() {
    let text = MINIMAL.replace(
        "  }\n}\n",
        "  }\n  failover { service = \"hub\" }\n  mirror { service = \"hub\" }\n}\n",
    );
    assert_eq!(
        told(&format!(
            "{text}services \"hub\" {{\n  websocket_hub {{ }}\n}}\n"
        )),
        [
            "16:24 E013 `failover` of service `backend` leads to a hub, which is for WebSockets only",
            "17:22 E013 `mirror` of service `backend` leads to a hub, which is for WebSockets only",
        ]
    );
}

#[test]
fn a_router_of_connections_has_no_hub() {
    let told = told(
        "entrypoints \"db\" {\n  address = \":1\"\n  protocol = \"tcp\"\n}\nrouters \"db\" {\n  rule = \"HostSNI(`*`)\"\n  service = \"hub\"\n  entrypoints = [\"db\"]\n}\nservices \"hub\" {\n  websocket_hub { }\n}\n",
    );
    assert_eq!(
        told,
        ["7:13 E021 router `db` takes connections, and service `hub` is for requests"]
    );
}
