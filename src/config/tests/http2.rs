//! The limits of HTTP/2.

use super::{good, told};

fn with(line: &str) -> String {
    format!(
        r#"entrypoints "web" {{
  address = ":80"
  http {{
    {line}
  }}
}}
routers "web" {{
  rule    = "PathPrefix(`/`)"
  service = "web"
}}
services "web" {{
  load_balancer {{
    servers = [{{ url = "http://127.0.0.1:81" }}]
  }}
}}
"#
    )
}

#[test]
fn a_client_resets_a_bounded_number_of_streams() {
    let config = good(&with("h2_max_resets = 7"));
    assert_eq!(config.entrypoints["web"].http.h2_max_resets, 7);
    for (value, message) in [
        (
            "0",
            "4:21 E008 `h2_max_resets` is out of range: 0 is not from 1 to 1000000",
        ),
        (
            "1000001",
            "4:21 E008 `h2_max_resets` is out of range: 1000001 is not from 1 to 1000000",
        ),
    ] {
        let text = with(&format!("h2_max_resets = {value}"));
        assert_eq!(told(&text), [message]);
    }
}
