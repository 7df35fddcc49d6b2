//! Tokens as operators write of them.

use super::JwtConfig;
use crate::config::tests::told_of;

const VALUE: &str = "value = \"correct horse battery staple, and more\"\n  ";
const URL: &str = "jwks_url = \"https://id.example/keys\"\n  ";

#[test]
fn what_is_wrong_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (keys, expected) in [
        (VALUE, &[][..]),
        (URL, &[]),
        (
            "",
            &["17:1 E013 there is no `value`, `public_key_file` or `jwks_url`: nobody would pass"],
        ),
        (
            &format!("{VALUE}{URL}public_key_file = \"/nowhere\""),
            &[
                "21:21 E013 `value` and `public_key_file` exclude one another",
                "21:21 E002 `public_key_file` cannot be read: no such file",
            ],
        ),
        ("value = \"\"", &["19:11 E006 the secret is empty"]),
        (
            "value = \"${TOKEN}\"",
            &[
                "19:11 W010 a value from outside this file: A secret is so short that it can be guessed.",
            ],
        ),
        (
            &format!("{VALUE}algorithms = [\"HS512\"]"),
            &[
                "19:11 W010 a secret of fewer than 64 bytes can be guessed by whoever has a token; make one with `openssl rand -base64 48`",
            ],
        ),
        (
            "value = \"-----BEGIN PUBLIC KEY-----\"",
            &[
                "19:11 E006 `value` is a secret, and this is a key or a certificate; write it to a file, and name that in `public_key_file`",
            ],
        ),
        ("value = 12345", &["19:11 E005 expected a string"]),
        (
            &format!("{VALUE}algorithms = [\"HS256\", \"none\", \"rs256\", \"RS256\"]"),
            &[
                "20:26 E006 `none` is not an algorithm that tokens are signed with; there are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA",
                "20:34 E006 `rs256` is not an algorithm that tokens are signed with; did you mean `RS256`?",
                "20:43 E006 RS256 verifies with a public key, and `value` is a secret",
            ],
        ),
        (
            &format!("{VALUE}algorithms = [\"HS256\", \"ES256\"]"),
            &["20:26 E006 ES256 verifies with a public key, and `value` is a secret"],
        ),
        (
            &format!("{URL}algorithms = [\"HS256\", \"ES512\", \"Ed25519\"]"),
            &["20:17 E006 HS256 verifies with a secret, and `jwks_url` has public keys"],
        ),
        (
            "jwks_url = \"tcp://id.example:1/keys\"",
            &["19:15 E006 it is asked for with `http` or `https`"],
        ),
        (
            &format!(
                "{VALUE}jwks_refresh = \"1h\"\n  jwks_timeout = \"1s\"\n  tls {{\n    insecure = true\n  }}"
            ),
            &[
                "20:18 E013 `jwks_refresh` is for keys of `jwks_url`",
                "21:18 E013 `jwks_timeout` is for keys of `jwks_url`",
                "22:3 E013 `tls` is for keys of `jwks_url`",
            ],
        ),
        (
            &format!(
                "{URL}jwks_refresh = \"9s\"\n  jwks_timeout = \"2m\"\n  leeway = \"2h\"\n  tls {{\n    cert_file = \"/nowhere\"\n    server_name = \" \"\n  }}"
            ),
            &[
                "20:18 E008 `jwks_refresh` is out of range: 9s is not from 10s to 1d",
                "21:18 E008 `jwks_timeout` is out of range: 2m is not from 100ms to 1m",
                "22:12 E008 `leeway` is out of range: 2h is not from 0s to 1h",
                "24:17 E013 `cert_file` needs `key_file`",
                "24:17 E002 `cert_file` cannot be read: no such file",
                "25:19 E006 `server_name` is neither a host name nor an IP address",
            ],
        ),
        (
            &format!("{VALUE}issuer = \"a\"\n  audience = [\"b\", \"c\"]\n  require_exp = false"),
            &[],
        ),
        (
            &format!("{VALUE}issuer = \"\"\n  audience = [\"b\", \"\"]"),
            &["20:12 E006 it is empty", "21:20 E006 it is empty"],
        ),
        (
            &format!("{VALUE}issuer = 1\n  audience = [\"a\", 2]"),
            &[
                "20:12 E005 expected a string, or a list of strings, found 1",
                "21:20 E005 expected a string, found 2",
            ],
        ),
        (
            &format!(
                "{VALUE}required_claims = {{ role = \"a\", level = [1, 2.5], vip = true, scope = [\"a b\"] }}"
            ),
            &[],
        ),
        (
            &format!("{VALUE}required_claims = {{ role = [], \"\" = \"a\", org = {{ a = 1 }} }}"),
            &[
                "20:30 E006 nothing is accepted: nobody would pass",
                "20:34 E006 the name of the claim is empty",
                "20:50 E005 expected a string, a number, true or false, or a list of them, found a block",
            ],
        ),
        (
            &format!(
                "{VALUE}claims_to_headers = {{ sub = \"X-User\", email = \"X_User\", \"\" = \"X-A\", a = \"Host\", b = \"Connection\", c = \"x y\" }}"
            ),
            &[
                "20:49 E011 two claims are told in `x_user`",
                "20:59 E006 the name of the claim is empty",
                "20:75 E006 `Host` names the server",
                "20:87 E006 the server sets this header itself, for each connection",
                "20:105 E006 `x y` is not the name of a header",
            ],
        ),
        (
            &format!(
                "{VALUE}claims_to_headers = {{ sub = \"X-Forwarded-User\", ip = \"X-Forwarded-For\" }}"
            ),
            &["20:56 E006 the gateway itself says what is in `x-forwarded-for`"],
        ),
        (
            &format!(
                "{VALUE}header = \"X Token\"\n  cookie = \"a b\"\n  query = \"\"\n  realm = \"a\\\"b\""
            ),
            &[
                "20:12 E006 `X Token` is not the name of a header",
                "21:12 E006 `a b` is not the name of a cookie",
                "22:11 E006 the name of the parameter is empty",
                "23:11 E006 the realm has quotes, backslashes, or what is no visible ASCII",
            ],
        ),
        (
            "vaule = \"x\"",
            &["19:3 E004 unknown key `vaule`; did you mean `value`?"],
        ),
    ] {
        let told = told_of(&format!(
            "middlewares \"x\" {{\n  type = \"jwt\"\n  {keys}\n}}"
        ));
        if told != expected {
            wrong.push(format!("{keys}\n  told {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_of_a_secret_is_told() {
    let config: JwtConfig = serde_json::from_str("{\"value\": \"horse battery\"}").unwrap();
    let text = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!text.contains("horse"), "{text}");
}
