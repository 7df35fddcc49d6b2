use crate::config::load::load_text;

fn told(admin: &str) -> String {
    let rest = "entrypoints \"web\" { address = \"127.0.0.1:0\" }\nrouters \"all\" {\n rule = \"PathPrefix(`/`)\"\n service = \"admin@internal\"\n}\n";
    let text = format!("admin {{\n{admin}\n}}\n{rest}");
    load_text(&text, &|_| None).diagnostics.to_string()
}

#[test]
fn an_admin_api_for_everybody_is_a_warning() {
    for open in [
        "0.0.0.0:9090",
        "[::]:9090",
        ":9090",
        "10.0.0.1:9090",
        "gateway.example:9090",
    ] {
        let warning = told(&format!("address = \"{open}\""));
        assert!(warning.contains("2:11: warning[W008]"), "{open}: {warning}");
    }
    for closed in [
        "address = \"127.0.0.2:9090\"",
        "address = \"[::1]:9090\"",
        "address = \"localhost:9090\"",
        "address = \"unix:/run/admin.sock\"",
        "address = \":9090\"\ntoken = \"hunter2\"",
        "address = \":9090\"\nallowed_ips = [\"10.0.0.0/8\"]",
    ] {
        assert_eq!(told(closed), "");
    }
}

#[test]
fn an_empty_token_is_refused() {
    let error = told("token = \"\"");
    assert!(
        error.contains("2:9: error[E006]: the token is empty"),
        "{error}"
    );
    let error = told("token = env(\"NOT_SET\", \"\")");
    assert!(error.contains("error[E006]"), "{error}");
}
