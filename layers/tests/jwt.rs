//! `auth::jwt` from outside: keys that are given, and what a token has to be. `jwks.rs` has the keys that are fetched.

#![cfg(feature = "jwt")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod tokens;

use a3s_layers::auth::jwt::{
    Algorithm, ClaimRule, FixedKeys, JwtLayer, KeyError, KeySet, MAX_TOKEN_BYTES,
};
use a3s_layers::claims::Claims;
use axum::body::Body;
use axum::{Extension, Router, routing::get};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::WWW_AUTHENTICATE;
use http::request::Builder;
use http::{HeaderName, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokens::{SECRET, Signer, encode, join, jwks, now, pem, pkcs1};
use tower::{Layer, ServiceExt, service_fn};

/// What comes back: 200 with the request's target as body and its headers, `x-sub` being the claim that it has.
async fn answer(layer: &JwtLayer, request: Builder) -> Response<Body> {
    let inner = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(Body::from(request.uri().to_string()));
        *response.headers_mut() = request.headers().clone();
        let claims = request.extensions().get::<Claims>().unwrap();
        if let Some(sub) = claims.text("sub") {
            response.headers_mut().insert("x-sub", sub.parse().unwrap());
        }
        Ok::<_, Infallible>(response)
    });
    let request = request.body(()).unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

fn bearer(token: &str) -> Builder {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

/// The status, and of a refusal the reason.
async fn judged(layer: &JwtLayer, token: &str) -> (u16, String) {
    let response = answer(layer, bearer(token)).await;
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map_or("", |challenge| challenge.to_str().unwrap());
    let reason = challenge.split("error_description=\"").nth(1);
    let reason = reason.and_then(|rest| rest.split('"').next());
    (
        response.status().as_u16(),
        reason.unwrap_or_default().to_owned(),
    )
}

async fn status(layer: &JwtLayer, token: &str) -> u16 {
    judged(layer, token).await.0
}

fn secret() -> KeySet {
    KeySet::secret(SECRET).unwrap()
}

fn hs256() -> Signer {
    Signer::new("HS256")
}

const ALL: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA",
];

#[tokio::test]
async fn each_algorithm_verifies_with_keys_of_its_kind_and_with_no_others() {
    let signers = ALL.map(Signer::new);
    let keys = |signer: &Signer| match signer.algorithm.starts_with("HS") {
        true => secret(),
        false => KeySet::from_pem(&signer.pem()).unwrap(),
    };
    let family = |algorithm: &str| match &algorithm[..2] {
        "PS" => "RS".to_owned(),
        "ES" => algorithm.to_owned(),
        family => family.to_owned(),
    };
    for key in &signers {
        // Told to take everything, and told nothing.
        let open = JwtLayer::new(keys(key)).algorithms(Algorithm::ALL);
        let usual = JwtLayer::new(keys(key));
        for signer in &signers {
            let token = signer.token(json!({}));
            let fits = family(key.algorithm) == family(signer.algorithm);
            let what = format!("{} with a key for {}", signer.algorithm, key.algorithm);
            assert_eq!(status(&open, &token).await == 200, fits, "{what}");
            let is_usual = fits && !matches!(signer.algorithm, "HS384" | "HS512");
            assert_eq!(status(&usual, &token).await == 200, is_usual, "{what}");
            let only = [signer.algorithm.parse().unwrap()];
            let only = JwtLayer::new(keys(key)).algorithms(only);
            assert_eq!(status(&only, &token).await == 200, fits, "{what}");
        }
        let others = ALL.into_iter().filter(|name| *name != key.algorithm);
        let others = others.map(|name| name.parse().unwrap());
        let others = JwtLayer::new(keys(key)).algorithms(others);
        assert_eq!(status(&others, &key.token(json!({}))).await, 401);
    }
    // RFC 9864's name for the same.
    let key = Signer::new("Ed25519");
    let layer = JwtLayer::new(KeySet::from_pem(&key.pem()).unwrap());
    assert_eq!(status(&layer, &key.token(json!({}))).await, 200);
}

#[tokio::test]
async fn a_token_does_not_choose_its_algorithm() {
    let rsa = Signer::new("RS256");
    let layer = JwtLayer::new(KeySet::from_pem(&rsa.pem()).unwrap()).algorithms(Algorithm::ALL);
    let claims = json!({ "exp": now() + 60 }).to_string();
    // The public key, which everybody may know, as a secret.
    for secret in [rsa.pem().into_bytes(), pkcs1(&rsa)] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let forger = Signer::with_secret(algorithm, &secret);
            let told = judged(&layer, &forger.token(json!({}))).await;
            let reason = "the token is signed with an algorithm that is not accepted";
            assert_eq!(told, (401, reason.to_owned()));
        }
    }
    for algorithm in [
        "none", "None", "NONE", "", "nOnE", "RS256 ", "rs256", "HS256",
    ] {
        let header = json!({ "alg": algorithm }).to_string();
        for signature in [&b""[..], b"x", &rsa.sign(b"x")] {
            assert_eq!(
                status(&layer, &join(&header, &claims, signature)).await,
                401
            );
        }
        let signed = rsa.token_with(json!({ "alg": algorithm }), &claims);
        assert_eq!(status(&layer, &signed).await, 401, "{algorithm}");
    }
    // What a token says of its key means nothing.
    let other = Signer::new("ES256").named("theirs");
    let own_key = json!({ "jwk": other.jwk(), "jku": "https://evil.example/", "x5u": "https://evil.example/" });
    assert_eq!(
        status(&layer, &other.token_with(own_key, &claims)).await,
        401
    );
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let layer = JwtLayer::new(secret());
    let signer = hs256();
    let claims = json!({ "exp": now() + 60 }).to_string();
    let good = signer.token_with(json!({}), &claims);
    assert_eq!(status(&layer, &good).await, 200);
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{good}")
    };
    let signed = |header: &str, payload: &str| {
        let message = format!("{header}.{payload}");
        format!("{message}.{}", encode(signer.sign(message.as_bytes())))
    };
    let padding = "a".repeat(MAX_TOKEN_BYTES);
    let deep = format!("{{\"exp\":{},\"a\":{}", now() + 60, "[".repeat(10_000));
    for token in [
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        &format!("{header}.{payload}"),
        &format!("{header}.{payload}."),
        &format!("{header}..{signature}"),
        &format!(".{payload}.{signature}"),
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good}.{signature}"),
        &format!("{good}.a.b"),
        &format!("{good}="),
        &format!("{good} {good}"),
        &format!("{good},{good}"),
        &good[..good.len() - 1],
        &good.replace('.', " "),
        // The last letter has bits that belong to no byte: another one is the same signature.
        &twin(&good),
        &signed(&encode("{}"), payload),
        &signed(&encode("[]"), payload),
        &signed(&encode("\"HS256\""), payload),
        &signed(&encode("{\"alg\":\"HS256\""), payload),
        &signed(&encode("{\"alg\":[\"HS256\"]}"), payload),
        &signed(&encode("{\"alg\":\"HS256\",\"alg\":\"HS256\"}"), payload),
        &signed(&encode("{\"alg\":\"HS256\",\"kid\":7}"), payload),
        &signed(&encode(b"{\"alg\":\"HS256\xff\"}"), payload),
        &signed("e30!", payload),
        // RFC 7515, 4.1.11: what must be understood, and is not.
        &signed(
            &encode("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}"),
            payload,
        ),
        &signed(&encode("{\"alg\":\"HS256\",\"crit\":[]}"), payload),
        &signed(header, &encode("[]")),
        &signed(header, &encode("null")),
        &signed(header, &encode("{")),
        &signed(header, &encode(format!("{claims} {claims}"))),
        &signed(header, &encode(b"\xff")),
        &signed(header, &encode(&deep)),
        &signed(header, &format!("{payload}=")),
        &signer.token(json!({ "padding": padding })),
    ] {
        let (status, reason) = judged(&layer, token).await;
        assert_eq!(status, 401, "{token}");
        assert!(!reason.is_empty(), "{token}");
    }
}

/// The same bytes in other letters: where the last group has bits to spare, one that is not zero.
fn twin(token: &str) -> String {
    let (start, last) = token.split_at(token.len() - 1);
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = letters.find(last).unwrap();
    format!("{start}{}", &letters[at ^ 1..][..1])
}

#[tokio::test]
async fn a_token_has_its_time() {
    let at = |offset: i64| i64::try_from(now()).unwrap() + offset;
    let expired = "the token has expired";
    let early = "the token is not valid yet";
    let malformed = "the token is malformed";
    let endless = "the token does not say when it expires";
    for (leeway, claims, reason) in [
        (0, json!({ "exp": at(30) }), ""),
        (0, json!({ "exp": at(30) as f64 + 0.5 }), ""),
        (0, json!({ "exp": at(0) }), expired),
        (0, json!({ "exp": at(-1) }), expired),
        (0, json!({ "exp": 0 }), expired),
        (0, json!({ "exp": -1 }), expired),
        (0, json!({ "exp": -1e300 }), expired),
        (0, json!({ "exp": u64::MAX }), ""),
        (0, json!({ "exp": 1e300 }), ""),
        (60, json!({ "exp": at(-30) }), ""),
        (60, json!({ "exp": at(-90) }), expired),
        (0, json!({ "exp": at(30).to_string() }), malformed),
        (0, json!({ "exp": true }), malformed),
        (0, json!({ "exp": [at(30)] }), malformed),
        (0, json!({ "exp": Value::Null }), endless),
        (0, json!({ "nbf": at(0) }), ""),
        (0, json!({ "nbf": at(30) }), early),
        (60, json!({ "nbf": at(30) }), ""),
        (60, json!({ "nbf": at(90) }), early),
        (0, json!({ "nbf": 1e300 }), early),
        (0, json!({ "nbf": -1e300 }), ""),
        (0, json!({ "nbf": "0" }), malformed),
        (0, json!({ "exp": at(-1), "nbf": at(30) }), expired),
    ] {
        let layer = JwtLayer::new(secret()).leeway(Duration::from_secs(leeway));
        let (status, told) = judged(&layer, &hs256().token(claims.clone())).await;
        assert_eq!(told, reason, "{claims} and {leeway} s");
        assert_eq!(status == 200, reason.is_empty());
    }
    // A null is no time.
    let null = hs256().token_with(json!({}), "{\"exp\":null}");
    let eternal = hs256().token_with(json!({}), "{}");
    let layer = JwtLayer::new(secret()).require_exp(false);
    assert_eq!(judged(&layer, &null).await, (401, malformed.to_owned()));
    assert_eq!(status(&layer, &eternal).await, 200);
    assert_eq!(
        status(&layer, &hs256().token(json!({ "exp": at(-90) }))).await,
        401
    );
    assert_eq!(status(&JwtLayer::new(secret()), &eternal).await, 401);
    // A minute is usual.
    assert_eq!(
        status(
            &JwtLayer::new(secret()),
            &hs256().token(json!({ "exp": at(-30) }))
        )
        .await,
        200
    );
}

#[tokio::test]
async fn a_token_that_is_remembered_expires_all_the_same() {
    let layer = JwtLayer::new(secret()).leeway(Duration::ZERO);
    let token = hs256().token(json!({ "exp": now() + 2 }));
    assert_eq!(status(&layer, &token).await, 200);
    // The clock is the system's, which no test can turn.
    let expired = async {
        while status(&layer, &token).await == 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), expired).await;
    in_time.unwrap();
}

#[tokio::test]
async fn issuer_and_audience_are_those_that_are_asked_for() {
    let layer = JwtLayer::new(secret())
        .issuer(["a", "b"])
        .audience(["x", "y"]);
    let issuer = "the token is of an issuer that is not accepted";
    let audience = "the token is not for this audience";
    for (claims, reason) in [
        (json!({ "iss": "a", "aud": "x" }), ""),
        (json!({ "iss": "b", "aud": ["z", "y"] }), ""),
        (json!({ "aud": "x" }), issuer),
        (json!({ "iss": "c", "aud": "x" }), issuer),
        (json!({ "iss": ["a"], "aud": "x" }), issuer),
        (json!({ "iss": "A", "aud": "x" }), issuer),
        (json!({ "iss": "a/", "aud": "x" }), issuer),
        (json!({ "iss": "a" }), audience),
        (json!({ "iss": "a", "aud": "z" }), audience),
        (json!({ "iss": "a", "aud": [] }), audience),
        (json!({ "iss": "a", "aud": ["z", 1, ["x"]] }), audience),
        (json!({ "iss": "a", "aud": { "x": "x" } }), audience),
        (json!({ "iss": "a", "aud": 1 }), audience),
        (json!({ "iss": "a", "aud": "x y" }), audience),
    ] {
        let (status, told) = judged(&layer, &hs256().token(claims.clone())).await;
        assert_eq!(told, reason, "{claims}");
        assert_eq!(status == 200, reason.is_empty());
    }
    // Who is not asked for does not matter.
    let open = JwtLayer::new(secret());
    let token = hs256().token(json!({ "iss": "c", "aud": 7 }));
    assert_eq!(status(&open, &token).await, 200);
}

#[tokio::test]
async fn claims_are_required_with_403() {
    let rule = |path: &str, accepted: &[&str]| ClaimRule::new(path, accepted.iter().copied());
    for (rules, claims, passes) in [
        (
            vec![rule("role", &["admin"])],
            json!({ "role": "admin" }),
            true,
        ),
        (
            vec![rule("role", &["admin", "root"])],
            json!({ "role": "root" }),
            true,
        ),
        (
            vec![rule("role", &["admin"])],
            json!({ "role": ["user", "admin"] }),
            true,
        ),
        (
            vec![rule("role", &["admin"])],
            json!({ "role": "administrator" }),
            false,
        ),
        (
            vec![rule("role", &["admin"])],
            json!({ "role": "user admin" }),
            false,
        ),
        (
            vec![rule("role", &["admin"])],
            json!({ "role": { "admin": true } }),
            false,
        ),
        (
            vec![rule("role", &["admin"])],
            json!({ "role": [["admin"]] }),
            false,
        ),
        (vec![rule("role", &["admin"])], json!({}), false),
        (vec![rule("level", &["3"])], json!({ "level": 3 }), true),
        (vec![rule("level", &["3"])], json!({ "level": "3" }), true),
        (vec![rule("level", &["3"])], json!({ "level": 30 }), false),
        (vec![rule("vip", &["true"])], json!({ "vip": true }), true),
        (vec![rule("vip", &["true"])], json!({ "vip": false }), false),
        (
            vec![rule("realm.roles", &["ops"])],
            json!({ "realm": { "roles": ["dev", "ops"] } }),
            true,
        ),
        (
            vec![rule("realm.roles", &["ops"])],
            json!({ "realm": { "roles": ["dev"] } }),
            false,
        ),
        (
            vec![rule("https://a.b/role", &["ops"])],
            json!({ "https://a.b/role": "ops" }),
            true,
        ),
        (
            vec![rule("scope", &["read"])],
            json!({ "scope": "openid read" }),
            true,
        ),
        (
            vec![rule("scope", &["read"])],
            json!({ "scope": ["openid", "read"] }),
            true,
        ),
        (
            vec![rule("scope", &["read"])],
            json!({ "scope": "openid readers" }),
            false,
        ),
        (
            vec![rule("scope", &["read write"])],
            json!({ "scope": "write a read" }),
            true,
        ),
        (
            vec![rule("scope", &["read write"])],
            json!({ "scope": "read" }),
            false,
        ),
        (
            vec![rule("scope", &["read", "write"])],
            json!({ "scope": "write" }),
            true,
        ),
        (vec![rule("scope", &[""])], json!({ "scope": "" }), false),
        (vec![rule("scope", &[" "])], json!({ "scope": " " }), false),
        (
            vec![rule("scp", &["read"])],
            json!({ "scp": "read write" }),
            true,
        ),
        (
            vec![rule("role", &[""; 0])],
            json!({ "role": "admin" }),
            false,
        ),
        (
            vec![rule("role", &["admin"]), rule("org", &["a"])],
            json!({ "role": "admin", "org": "b" }),
            false,
        ),
    ] {
        let what = format!("{rules:?} and {claims}");
        let layer = rules
            .into_iter()
            .fold(JwtLayer::new(secret()), JwtLayer::require);
        let expected = if passes { 200 } else { 403 };
        let token = hs256().token(claims);
        assert_eq!(status(&layer, &token).await, expected, "{what}");
        // Remembered or not.
        assert_eq!(status(&layer, &token).await, expected, "{what}");
        assert_eq!(status(&layer, "a.b.c").await, 401);
    }
}

#[tokio::test]
async fn a_server_is_told_claims_that_a_client_cannot_forge() {
    let name = HeaderName::from_static;
    let layer = JwtLayer::new(secret())
        .claim_to_header("sub", name("x-user-id"))
        .claim_to_header("realm.roles", name("x-roles"));
    let told = async |claims: Value| {
        let mut request = bearer(&hs256().token(claims));
        for forged in ["x-user-id", "x_user_id", "x-user_id", "x-roles", "x_roles"] {
            request = request.header(forged, "root").header(forged, "again");
        }
        let response = answer(&layer, request).await;
        assert_eq!(response.status(), 200);
        for forged in ["x_user_id", "x-user_id", "x_roles"] {
            assert!(!response.headers().contains_key(forged), "{forged}");
        }
        ["x-user-id", "x-roles"].map(|name| {
            let values: Vec<_> = response.headers().get_all(name).iter().collect();
            assert!(values.len() < 2, "{values:?}");
            let value = values.first().map(|value| value.as_bytes().to_vec());
            value.map(|value| String::from_utf8(value).unwrap())
        })
    };
    for (sub, expected) in [
        (json!("ada"), Some("ada")),
        (json!("Zoë"), Some("Zoë")),
        (json!(7), Some("7")),
        (json!(true), Some("true")),
        (json!("a, b"), Some("a, b")),
        (json!(["a", "b"]), Some("a,b")),
        (json!(["a", 1]), Some("a,1")),
        (Value::Null, None),
        (json!(""), None),
        (json!(" root"), None),
        (json!("root\t"), None),
        (json!("a\r\nx-roles: root"), None),
        (json!("a\0"), None),
        (json!({ "a": 1 }), None),
        (json!([]), None),
        (json!(["user,root"]), None),
        (json!(["user", ""]), None),
        (json!(["user", " root"]), None),
        (json!([["root"]]), None),
    ] {
        // The header `x-sub` of the answer is the test's own.
        let what = sub.to_string();
        let told = told(json!({ "sub": null, "realm": { "roles": sub } })).await;
        assert_eq!(told, [None, expected.map(str::to_owned)], "{what}");
    }
    let both = told(json!({ "sub": "ada", "realm": { "roles": ["dev", "ops"] } })).await;
    assert_eq!(both, [Some("ada".to_owned()), Some("dev,ops".to_owned())]);
    assert_eq!(told(json!({ "sub": null })).await, [None, None]);
}

#[tokio::test]
async fn a_token_is_taken_from_header_cookie_and_query_in_this_order() {
    let layer = JwtLayer::new(secret()).cookie("session").query("token");
    let [header, cookie, query] =
        ["header", "cookie", "query"].map(|sub| hs256().token(json!({ "sub": sub })));
    let (header, cookie, query) = (header.as_str(), cookie.as_str(), query.as_str());
    let bearer = &format!("Bearer {header}")[..];
    let in_cookie = &format!("a=b; session={cookie}; c")[..];
    let quoted = &format!("session=\"{cookie}\"")[..];
    let crumb = &format!("session={cookie}")[..];
    let in_query = &format!("/?a&token={query}")[..];
    let spelled = &format!("/?t%6fken={query}")[..];
    let (one, bad, two) = (200, 401, 400);
    for (target, authorization, cookies, expected, who) in [
        (in_query, &[bearer][..], &[in_cookie][..], one, "header"),
        (
            in_query,
            &[&bearer.replace("Bearer", "bEARER")],
            &[],
            one,
            "header",
        ),
        (in_query, &[&bearer.replace(' ', "  ")], &[], one, "header"),
        (in_query, &[], &[in_cookie], one, "cookie"),
        ("/", &["Basic YTpi"], &[quoted], one, "cookie"),
        ("/", &[], &["a=b", crumb, "c=d"], one, "cookie"),
        ("/", &["Bearer"], &[crumb], one, "cookie"),
        (
            in_query,
            &[],
            &["sessions=1; xsession=2; Session=3"],
            one,
            "query",
        ),
        (spelled, &[], &[], one, "query"),
        // A bad one is not made up for by another.
        (in_query, &["Bearer a.b.c"], &[in_cookie], bad, ""),
        (in_query, &[], &["session=a.b.c"], bad, ""),
        (in_query, &[], &["session="], bad, ""),
        ("/?token", &[], &[], bad, ""),
        ("/?token=a%2Eb%2Ec", &[], &[], bad, ""),
        ("/?other=1", &[], &["other=1"], bad, ""),
        ("/", &[header], &[], bad, ""),
        ("/", &["BearerX a.b.c"], &[], bad, ""),
        ("/", &["Bearer \u{fc}"], &[], bad, ""),
        // Two in one place.
        ("/", &[bearer, bearer], &[], two, ""),
        ("/", &["Basic YTpi", bearer], &[], two, ""),
        ("/", &[bearer, ""], &[], two, ""),
        ("/", &[], &[crumb, crumb], two, ""),
        ("/", &[], &["session=; session="], two, ""),
        (&format!("{in_query}&token={query}"), &[], &[], two, ""),
        (&format!("{in_query}&%74oken=x"), &[], &[], two, ""),
    ] {
        let mut request = Request::get(target);
        for value in authorization {
            request = request.header("authorization", *value);
        }
        for value in cookies {
            request = request.header("cookie", *value);
        }
        let response = answer(&layer, request).await;
        let what = format!("{target} {authorization:?} {cookies:?}");
        assert_eq!(response.status(), expected, "{what}");
        if expected == one {
            assert_eq!(response.headers()["x-sub"], who, "{what}");
        }
    }
    // Only where it is looked for.
    let plain = JwtLayer::new(secret());
    let request = Request::get(in_query).header("cookie", in_cookie);
    assert_eq!(answer(&plain, request).await.status(), 401);
    // In a header of another name the scheme may be missing.
    let own = JwtLayer::new(secret()).header(HeaderName::from_static("x-token"));
    for (value, expected) in [(header, 200), (bearer, 200), ("Basic YTpi", 401), ("", 401)] {
        let request = Request::get("/").header("x-token", value);
        assert_eq!(answer(&own, request).await.status(), expected);
    }
    let request = Request::get("/").header("authorization", bearer);
    assert_eq!(answer(&own, request).await.status(), 401);
}

#[tokio::test]
async fn a_hidden_token_is_nowhere() {
    let token = hs256().token(json!({}));
    let layer = JwtLayer::new(secret()).cookie("session").query("token");
    let request = || {
        Request::get(format!("/a?b=%2f&token={token}&c"))
            .header("authorization", format!("Bearer {token}"))
            .header("cookie", "first=1; session=old")
            .header("cookie", "last=\"a b\"")
    };
    let response = answer(&layer, request()).await;
    assert!(response.headers().contains_key("authorization"));
    let response = answer(&layer.hide(true), request()).await;
    assert!(!response.headers().contains_key("authorization"));
    let cookies: Vec<_> = response.headers().get_all("cookie").iter().collect();
    assert_eq!(cookies, ["first=1", "last=\"a b\""]);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/a?b=%2f&c");
    let only = JwtLayer::new(secret()).cookie("session").hide(true);
    let request = Request::get("/").header("cookie", format!("session={token}"));
    let response = answer(&only, request).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("cookie"));
}

#[tokio::test]
async fn challenges_are_those_of_rfc_6750() {
    let layer = JwtLayer::new(secret())
        .realm("the \"shop\\\n")
        .require(ClaimRule::new("scope", ["read write"]));
    let bad = "error=\"invalid_token\", error_description=\"the token has expired\"";
    let poor = "error=\"insufficient_scope\", error_description=\"the token does not have the claims that this needs\", scope=\"read write\"";
    let two = "error=\"invalid_request\", error_description=\"more than one token was sent\"";
    let expired = hs256().token(json!({ "exp": 1 }));
    let weak = hs256().token(json!({}));
    for (request, status, error) in [
        (Request::get("/"), 401, ""),
        (bearer(&expired), 401, bad),
        (bearer(&weak), 403, poor),
        (bearer(&weak).header("authorization", "Bearer x"), 400, two),
    ] {
        let response = answer(&layer, request.header("accept", "text/plain")).await;
        assert_eq!(response.status(), status);
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        let separator = if error.is_empty() { "" } else { ", " };
        assert_eq!(
            challenge,
            format!("Bearer realm=\"the shop\"{separator}{error}")
        );
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
    }
    let request = bearer(&expired).header("content-type", "application/grpc");
    let response = answer(&layer, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "16");
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    // A choice of scopes, or a claim of another name, is no scope to ask for.
    for rule in [
        ClaimRule::new("scope", ["a", "b"]),
        ClaimRule::new("role", ["a"]),
        ClaimRule::new("scope", ["\""]),
    ] {
        let response = answer(&JwtLayer::new(secret()).require(rule), bearer(&weak)).await;
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.ends_with("needs\""), "{challenge}");
    }
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let first = Signer::new("ES256");
    let second = Signer::new("ES256");
    let keys = FixedKeys::new(KeySet::from_pem(&first.pem()).unwrap());
    let layer = JwtLayer::new(keys.clone());
    let clone = layer.clone();
    let tokens = [first.token(json!({})), second.token(json!({}))];
    let statuses = async || {
        let mut statuses = Vec::new();
        for layer in [&layer, &clone] {
            for token in &tokens {
                statuses.push(status(layer, token).await);
            }
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 401, 200, 401]);
    // What was verified with keys that are gone is verified no longer, remembered or not.
    keys.replace(KeySet::from_pem(&second.pem()).unwrap());
    assert_eq!(statuses().await, [401, 200, 401, 200]);
    keys.replace(KeySet::from_pem(&(first.pem() + &second.pem())).unwrap());
    assert_eq!(statuses().await, [200; 4]);
}

#[tokio::test]
async fn a_layer_with_other_settings_remembers_nothing_of_the_first() {
    let layer = JwtLayer::new(secret());
    let token = hs256().token(json!({ "iss": "a" }));
    assert_eq!(status(&layer, &token).await, 200);
    assert_eq!(status(&layer.clone().issuer(["b"]), &token).await, 401);
    assert_eq!(status(&layer, &token).await, 200);
}

#[tokio::test]
async fn many_tokens_are_verified_in_turn() {
    let layer = JwtLayer::new(secret());
    let tokens: Vec<_> = (0..3000)
        .map(|n| hs256().token(json!({ "sub": n.to_string() })))
        .collect();
    for _ in 0..2 {
        for (n, token) in tokens.iter().enumerate() {
            let response = answer(&layer, bearer(token)).await;
            assert_eq!(response.headers()["x-sub"], n.to_string());
        }
    }
}

#[test]
fn a_file_of_keys_has_public_keys_and_nothing_else() {
    let [rsa, ec, ed] = ["RS256", "ES256", "EdDSA"].map(Signer::new);
    let pkcs1 = pem("RSA PUBLIC KEY", &pkcs1(&rsa));
    let several = format!(
        "Ours:\n{}and theirs:\r\n{}{}",
        rsa.pem(),
        ec.pem().replace('\n', "\r\n"),
        ed.pem()
    );
    for (text, algorithms) in [
        (rsa.pem(), &[Algorithm::Rs256, Algorithm::Ps512][..]),
        (pkcs1, &[Algorithm::Rs256]),
        (ec.pem(), &[Algorithm::Es256]),
        (ed.pem(), &[Algorithm::EdDsa]),
        (CERTIFICATE.to_owned(), &[Algorithm::Es256]),
        (
            several,
            &[Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        ),
    ] {
        let keys = KeySet::from_pem(&text).unwrap();
        for algorithm in Algorithm::ALL {
            let is_for = keys.is_for(algorithm);
            assert!(is_for || !algorithms.contains(&algorithm), "{text}");
            assert!(!(is_for && algorithm.is_symmetric()), "{text}");
        }
    }
    let nine = ed.pem().repeat(9);
    let broken = ec.pem().replace("-----END", "-----ENT");
    let damaged = ec.pem().replace("MF", "MG");
    for (text, error) in [
        ("", KeyError::Empty),
        ("hello", KeyError::Empty),
        (&jwks([&ec]), KeyError::Empty),
        (SMALL_RSA, KeyError::RsaSize),
        (&nine, KeyError::TooMany),
        (&broken, KeyError::NotPem),
        (&damaged, KeyError::Unknown),
        (
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            KeyError::Unknown,
        ),
        ("-----BEGIN PUBLIC KEY", KeyError::NotPem),
        (
            "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
            KeyError::NotPem,
        ),
        (&ec.pem().replace("PUBLIC", "PRIVATE"), KeyError::Private),
        (
            &ec.pem().replace("PUBLIC", "RSA PRIVATE"),
            KeyError::Private,
        ),
        (
            &ec.pem().replace("PUBLIC", "ENCRYPTED PRIVATE"),
            KeyError::Private,
        ),
        (
            &(ec.pem() + "-----BEGIN EC PRIVATE KEY-----\n"),
            KeyError::Private,
        ),
    ] {
        assert_eq!(KeySet::from_pem(text).unwrap_err(), error, "{text}");
    }
    assert_eq!(KeySet::secret("").unwrap_err(), KeyError::Empty);
}

#[test]
fn nothing_of_a_secret_is_printed() {
    let keys = KeySet::secret("hunter2-hunter2").unwrap();
    let layer = JwtLayer::new(keys.clone()).issuer(["a"]);
    for text in [format!("{keys:?}"), format!("{layer:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("104, 117"), "{text}");
    }
}

/// The claims of RFC 7515's examples: `{"iss":"joe",` `"exp":1300819380,` `"http://example.com/is_root":true}`.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[tokio::test]
async fn the_examples_of_the_rfc_are_genuine() {
    // RFC 7515, A.1.
    let hs256 = BASE64_URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    let signed_hs256 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    // A.2.
    let signed_rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{JOE}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let rs256 = KeySet::from_pem(include_str!("tokens/rfc7515_a2.pem")).unwrap();
    // A.3.
    let signed_es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{JOE}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let es256 = KeySet::from_pem(include_str!("tokens/rfc7515_a3.pem")).unwrap();
    for (keys, token) in [
        (KeySet::secret(hs256).unwrap(), signed_hs256),
        (rs256, signed_rs256),
        (es256, signed_es256),
    ] {
        // They expired in 2011.
        let layer = JwtLayer::new(keys)
            .leeway(Duration::from_secs(1 << 40))
            .issuer(["joe"])
            .require(ClaimRule::new("http://example.com/is_root", ["true"]));
        assert_eq!(judged(&layer, &token).await, (200, String::new()));
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(
            status(&layer, &format!("{message}.{}", encode([1; 64]))).await,
            401
        );
    }
}

#[tokio::test]
async fn an_axum_handler_reads_the_claims() {
    let hello = async |Extension(claims): Extension<Claims>| {
        format!("hello {}", claims.text("sub").unwrap())
    };
    let app: Router = Router::new()
        .route("/", get(hello))
        .layer(JwtLayer::new(secret()));
    let request = bearer(&hs256().token(json!({})))
        .body(Body::empty())
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello ada");
    let request = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 401);
}

/// A certificate of a key that nobody has any more.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBdTCCARugAwIBAgIUHCj2zUXnrNBQF49Rv3OjGHajl78wCgYIKoZIzj0EAwIw\n\
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUyMDM0NDVaGA8yMTI2MTEwMTIwMzQ0\n\
NVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCHi\n\
C6mctg/lyjRdDwhwjWxUVn3fM029P5y4eedt0yCUoeWvwfD0+w13y8TfkvHE04aQ\n\
zEjjFvfzuTMaoHhHBwOjUzBRMB0GA1UdDgQWBBQwv+unA7AuOhCsmdlIk31TIWZ9\n\
ajAfBgNVHSMEGDAWgBQwv+unA7AuOhCsmdlIk31TIWZ9ajAPBgNVHRMBAf8EBTAD\n\
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDyfjxKZ3MseTszXS2/AnxJk5yzdmB3++Em\n\
eBQU/HvLzgIgFb+I98RNisLchMw40E2hUtLpTC/qVoUVhy8TQOkw8B0=\n\
-----END CERTIFICATE-----\n";

/// A key of 1024 bits.
const SMALL_RSA: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDPnsJkY+bRtt9U7PPtpM04+d71\n\
pnp6EPs1cg8AoKXwPlVktNG7PNgwPFiciYN8fK8yegrtO4/bE/E4oWXgn6SjiqVM\n\
xhEMCf7JtvL3zNA7Vb8LNVHRSTmz1ryKUrZ3hGT6+6wK8e3dNmtUTji7XCnghTyb\n\
2wUX0ALMsMZytXajjQIDAQAB\n\
-----END PUBLIC KEY-----\n";
