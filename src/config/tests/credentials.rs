//! What is told of headers that have credentials, and of files that do.

use super::*;
use std::fs;

const FRAMING: &str = "the server sets this header itself, for each connection";
const HOST: &str = "`Host` names the server";

#[test]
fn a_header_of_every_request_is_no_credential_and_tells_a_server_nothing() {
    let mut wrong = Vec::new();
    let forward = "type = \"forward-auth\"; forward_auth_url = \"http://127.0.0.1:9000\"";
    let cached = format!("{forward}; cache = {{ ttl = \"1m\", key = \"header:NAME\" }}");
    let parted = format!(
        "{forward}; cache = {{ ttl = \"1m\", key = \"cookie:a\", parts = [\"uri\", \"header:NAME\"] }}"
    );
    let names = format!("{forward}; forward_auth_response_headers = [\"NAME\"]");
    for (keys, place, may_be_host) in [
        (
            "type = \"api-key\"; keys = [\"${TOKEN}\"]; header = \"NAME\"",
            "20:12",
            false,
        ),
        (
            "type = \"api-key\"; keys = { a = \"${TOKEN}\" }; identity_header = \"NAME\"",
            "20:21",
            false,
        ),
        (
            "type = \"basic-auth\"; users_file = \"Cargo.toml.none\"; identity_header = \"NAME\"",
            "20:21",
            false,
        ),
        (
            "type = \"jwt\"; jwks_url = \"https://id.example\"; header = \"NAME\"",
            "20:12",
            false,
        ),
        (
            "type = \"jwt\"; jwks_url = \"https://id.example\"; claims_to_headers = { sub = \"NAME\" }",
            "20:31",
            false,
        ),
        (&names, "20:36", false),
        (&cached, "20:31", false),
        (&parted, "20:59", true),
        ("type = \"request-id\"; header = \"NAME\"", "19:12", false),
        (
            "type = \"rate-limit\"; rate = 1; key = \"header:NAME\"",
            "20:9",
            true,
        ),
        (
            "type = \"in-flight\"; max = 1; key = \"header:NAME\"",
            "20:9",
            true,
        ),
    ] {
        for name in [
            "Connection",
            "Content-Length",
            "Host",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "X-Good",
        ] {
            let keys = keys.replace("NAME", name).replace("; ", "\n  ");
            let mut told = told_of(&format!("middlewares \"x\" {{\n  {keys}\n}}"));
            told.retain(|told| !told.contains("users_file"));
            let message = match name {
                "X-Good" => None,
                "Host" if may_be_host => None,
                "Host" => Some(HOST),
                _ => Some(FRAMING),
            };
            let expected = message.map(|message| format!("{place} E006 {message}"));
            if told != Vec::from_iter(expected) {
                wrong.push(format!("{keys}\n  told {told:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of no kind that there is.
const NO_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n";

#[test]
fn what_is_wrong_in_a_file_is_told_where_it_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let path = file.display();
    let mut wrong = Vec::new();
    for (keys, text, expected) in [
        (
            "type = \"api-key\"; keys_file = FILE",
            "# ours\nacme:s3cret\n",
            None,
        ),
        (
            "type = \"api-key\"; keys_file = FILE",
            "# ours\nacme:s3cret\nsha256:hunter2\n",
            Some("19:15 E018 `FILE`: line 3: a digest is 64 hexadecimal digits"),
        ),
        (
            "type = \"api-key\"; keys_file = FILE; keys = [\"${TOKEN}\"]",
            // What `TOKEN` is.
            "other\nhunter2\n",
            Some("19:15 E018 `FILE`: line 2: the key is there already"),
        ),
        (
            "type = \"basic-auth\"; users_file = FILE",
            "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
            None,
        ),
        (
            "type = \"basic-auth\"; users_file = FILE",
            "\n\nann:hunter2\n",
            Some(
                "19:16 E018 `FILE`: line 3: the password is not hashed, or by the ancient crypt(3): use `htpasswd -B`",
            ),
        ),
        (
            "type = \"jwt\"; public_key_file = FILE",
            "hunter2",
            Some("19:21 E018 `FILE`: there is no key in it"),
        ),
        (
            "type = \"jwt\"; public_key_file = FILE; algorithms = [\"HS256\"]",
            NO_KEY,
            Some("19:21 E018 `FILE`: not an RSA, EC (P-256, P-384, P-521) or Ed25519 public key"),
        ),
    ] {
        fs::write(&file, text).unwrap();
        let keys = keys
            .replace("FILE", &format!("{:?}", file.to_str().unwrap()))
            .replace("; ", "\n  ");
        let text = with_middlewares(&format!("middlewares \"x\" {{\n  {keys}\n}}"));
        let running = loaded(&text);
        let starting = running.clone().without_unusable_files();
        let is_refused = running.config.is_some() && starting.config.is_none();
        let mut told = lines(&starting.diagnostics);
        told.retain(|told| !told.contains("HS256"));
        if is_refused != (expected.is_some() && !keys.contains("HS256")) {
            wrong.push(format!("{keys}\n  refused: {is_refused}"));
        }
        let expected = expected.map(|line| line.replace("FILE", &path.to_string()));
        if told != Vec::from_iter(expected) {
            wrong.push(format!("{keys}\n  told {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
