//! `auth::basic_auth` from outside.

#![cfg(feature = "basic-auth")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use a3s_layers::auth::basic_auth::{
    BasicAuthLayer, HashError, MAX_CREDENTIALS_BYTES, UserError, Users,
};
use axum::body::Body;
use axum::{Router, routing::get};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::request::Builder;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt, service_fn};

const USER: HeaderName = HeaderName::from_static("x-auth-user");

/// Everybody's password is `secret`, but for `eve`.
const FILE: &str = "\
# staff
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
apr1:$apr1$r31xyz12$onQKKDsjYs7dR4muzW5nu0
bcrypt:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW

argon2:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$sJpplSekXew1kEWemINJPY1grzqnCfnieOmsPQkTNy0
";

/// The hash of `pässwörd`.
const EVE: &str = "$2y$04$abcdefghijklmnopqrstuuyx2n0Zzopyr9QuYTMCfOJJOj526QVoC";

fn users() -> Users {
    let mut users = Users::new();
    users.add_lines(FILE).unwrap();
    users.add_hash("eve", EVE).unwrap();
    users.add_password("plain", "secret").unwrap();
    users.add_password("zoë", "a:b").unwrap();
    users
}

/// What comes back: the headers of the server's answer are the request's.
async fn answer(layer: &BasicAuthLayer, request: Builder) -> Response<Body> {
    let inner = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = request.headers().clone();
        Ok::<_, Infallible>(response)
    });
    let request = request.body(()).unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

fn basic(credentials: impl AsRef<[u8]>) -> Builder {
    let encoded = BASE64_STANDARD.encode(credentials);
    Request::get("/").header("authorization", format!("Basic {encoded}"))
}

async fn status(layer: &BasicAuthLayer, credentials: impl AsRef<[u8]>) -> u16 {
    answer(layer, basic(credentials)).await.status().as_u16()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_name_with_its_password_passes() {
    let layer = BasicAuthLayer::new(users());
    for name in ["sha", "apr1", "bcrypt", "argon2", "plain"] {
        for (credentials, expected) in [
            (format!("{name}:secret"), 200),
            (format!("{name}:secret"), 200),
            (format!("{name}:wrong"), 401),
            (format!("{name}:"), 401),
            (format!("{name}:secret:"), 401),
            (format!("{}:secret", name.to_uppercase()), 401),
            (format!("{name} :secret"), 401),
        ] {
            assert_eq!(
                status(&layer, &credentials).await,
                expected,
                "{credentials}"
            );
        }
    }
    for (credentials, expected) in [
        ("eve:pässwörd", 200),
        ("zoë:a:b", 200),
        ("zoë:a", 401),
        ("nobody:secret", 401),
        (":secret", 401),
        (":", 401),
    ] {
        assert_eq!(status(&layer, credentials).await, expected, "{credentials}");
    }
}

#[tokio::test]
async fn what_is_not_a_name_and_a_password_is_refused() {
    let layer = BasicAuthLayer::new(users());
    for credentials in [
        &b""[..],
        b"plain",
        b"plain:secret\0",
        b"pl\nain:secret",
        b"plain:\xff",
    ] {
        assert_eq!(status(&layer, credentials).await, 401, "{credentials:?}");
    }
    for (value, expected) in [
        ("Basic cGxhaW46c2VjcmV0", 200),
        ("basic  cGxhaW46c2VjcmV0", 200),
        // `plain:a`, with padding and without
        ("Basic cGxhaW46YQ==", 401),
        ("Basic cGxhaW46YQ", 401),
        ("Basic", 401),
        ("Basic ", 401),
        ("Basic *", 401),
        ("Basic cGxhaW46c2VjcmV0 x", 401),
        ("cGxhaW46c2VjcmV0", 401),
        ("Bearer cGxhaW46c2VjcmV0", 401),
        ("Basicübercool", 401),
        ("Basic cGxhaW46c2VjcmV=", 401),
    ] {
        let request = Request::get("/").header("authorization", value);
        assert_eq!(answer(&layer, request).await.status(), expected, "{value}");
    }
    let twice = basic("plain:secret").header("authorization", "Basic cGxhaW46c2VjcmV0");
    assert_eq!(answer(&layer, twice).await.status(), 401);
}

#[tokio::test]
async fn credentials_have_a_greatest_length() {
    let password = "p".repeat(MAX_CREDENTIALS_BYTES - "long:".len());
    let mut users = Users::new();
    users.add_password("long", &password).unwrap();
    let error = users.add_password("long2", &password).unwrap_err();
    assert_eq!(error, UserError::TooLong);
    let layer = BasicAuthLayer::new(users);
    assert_eq!(status(&layer, format!("long:{password}")).await, 200);
    assert_eq!(status(&layer, format!("long:{password}p")).await, 401);
    assert_eq!(status(&layer, "a:".repeat(100_000)).await, 401);
}

#[tokio::test]
async fn the_server_learns_the_name_and_nothing_that_the_client_says() {
    let layer = BasicAuthLayer::new(users()).identity_header(USER);
    // One that is compared at once, one that is hashed, and one that is remembered.
    for name in ["zoë:a:b", "bcrypt:secret", "bcrypt:secret"] {
        let request = basic(name)
            .header("x-auth-user", "root")
            .header("x_auth_user", "root");
        let response = answer(&layer, request).await;
        let found: Vec<_> = response.headers().get_all("x-auth-user").iter().collect();
        let expected = name.split(':').next().unwrap();
        assert_eq!(found, [expected.as_bytes()]);
        assert!(!response.headers().contains_key("x_auth_user"));
        assert!(response.headers().contains_key("authorization"));
    }
}

#[tokio::test]
async fn the_server_sees_no_password_that_is_hidden() {
    let layer = BasicAuthLayer::new(users()).hide(true);
    for name in ["plain:secret", "bcrypt:secret", "bcrypt:secret"] {
        let response = answer(&layer, basic(name)).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("authorization"));
    }
}

#[tokio::test]
async fn a_refusal_has_the_form_that_its_reader_wants_and_a_challenge() {
    let layer = BasicAuthLayer::new(users()).realm("the \"inner\" c\\ircle\r\nx: ü");
    let response = answer(&layer, Request::get("/")).await;
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Basic realm="the \"inner\" c\\irclex: ", charset="UTF-8""#
    );
    let body = "{\"error\":\"a name and a password are required\",\"status\":401}\n";
    assert_eq!(text(response).await, body);

    for credentials in ["plain:wrong", "bcrypt:wrong", "nobody:wrong"] {
        let request = basic(credentials).header("accept", "text/html");
        let response = answer(&layer, request).await;
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(text(response).await, "the name or the password is wrong\n");

        let request = basic(credentials).header("content-type", "application/grpc+proto");
        let response = answer(&layer, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(!response.headers().contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn nobody_passes_where_nobody_is_known() {
    let layer = BasicAuthLayer::new(Users::new());
    assert_eq!(status(&layer, "plain:secret").await, 401);
}

/// A runtime with one thread for what blocks.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Blocks that thread until what it returns is dropped: nothing is hashed until then.
fn block() -> mpsc::Sender<()> {
    let (free, blocked) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || blocked.recv());
    free
}

fn spawned<'a>(
    layer: &'a BasicAuthLayer,
    credentials: &str,
) -> task::Spawn<impl Future<Output = Response<Body>> + use<'a>> {
    task::spawn(answer(layer, basic(credentials)))
}

fn answers_at_once(layer: &BasicAuthLayer, credentials: &str) -> Response<Body> {
    assert_ready!(spawned(layer, credentials).poll(), "{credentials}")
}

#[test]
fn slow_hashes_wait_in_a_row_of_limited_length_and_the_rest_gets_503() {
    let layer = BasicAuthLayer::new(users()).max_hashing(1, 1);
    runtime().block_on(async {
        let free = block();
        let mut hashed = spawned(&layer, "bcrypt:secret");
        assert_pending!(hashed.poll());
        let mut waiting = spawned(&layer, "argon2:secret");
        assert_pending!(waiting.poll());
        for (credentials, status) in [
            ("bcrypt:secret", 503),
            ("apr1:wrong", 503),
            // Those that need no hash come through.
            ("plain:secret", 200),
            ("plain:wrong", 401),
            ("sha:secret", 200),
        ] {
            let response = answers_at_once(&layer, credentials);
            assert_eq!(response.status(), status, "{credentials}");
            let retry_after = response.headers().get("retry-after");
            assert_eq!(retry_after.is_some(), status == 503, "{credentials}");
        }
        // Who goes away leaves his place.
        drop(waiting);
        let mut waiting = spawned(&layer, "eve:wrong");
        assert_pending!(waiting.poll());
        drop(free);
        assert_eq!(hashed.await.status(), 200);
        assert_eq!(waiting.await.status(), 401);
    });
}

#[test]
fn a_hash_that_nobody_waits_for_keeps_its_place_until_it_ends() {
    let layer = BasicAuthLayer::new(users()).max_hashing(1, 0);
    runtime().block_on(async {
        let free = block();
        let mut hashed = spawned(&layer, "bcrypt:secret");
        assert_pending!(hashed.poll());
        drop(hashed);
        assert_eq!(answers_at_once(&layer, "argon2:secret").status(), 503);
        drop(free);
        // The one thread takes one thing after the other: when this ends, the hash has.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(answers_at_once(&layer, "bcrypt:secret").status(), 200);
        assert_eq!(status(&layer, "argon2:secret").await, 200);
    });
}

#[test]
fn right_credentials_are_remembered_and_hashed_once() {
    let layer = BasicAuthLayer::new(users()).max_hashing(1, 5);
    runtime().block_on(async {
        let free = block();
        let mut first = spawned(&layer, "bcrypt:secret");
        assert_pending!(first.poll());
        // Of those who came while it was hashed, too.
        let mut second = spawned(&layer, "bcrypt:secret");
        assert_pending!(second.poll());
        drop(free);
        assert_eq!(first.await.status(), 200);
        let free = block();
        assert_eq!(assert_ready!(second.poll()).status(), 200);
        assert_eq!(answers_at_once(&layer, "bcrypt:secret").status(), 200);
        for other in ["bcrypt:Secret", "argon2:secret"] {
            assert_pending!(spawned(&layer, other).poll(), "{other}");
        }
        drop(free);
    });
}

#[test]
fn a_name_that_nobody_has_is_hashed_as_a_wrong_password_is() {
    let mut users = Users::new();
    users.add_hash("eve", EVE).unwrap();
    let layer = BasicAuthLayer::new(users);
    runtime().block_on(async {
        let free = block();
        // The second is the password of eve, whose hash it is compared with.
        for credentials in ["nobody:wrong", "nobody:pässwörd", "eve:wrong"] {
            let mut hashed = spawned(&layer, credentials);
            assert_pending!(hashed.poll(), "{credentials}");
        }
        drop(free);
        assert_eq!(status(&layer, "nobody:pässwörd").await, 401);
        assert_eq!(status(&layer, "eve:pässwörd").await, 200);
        assert_eq!(status(&layer, "nobody:pässwörd").await, 401);
    });
}

#[test]
fn wrong_credentials_are_not_remembered_and_make_no_right_ones_forgotten() {
    let layer = BasicAuthLayer::new(users());
    runtime().block_on(async {
        assert_eq!(status(&layer, "bcrypt:secret").await, 200);
        for number in 0..50 {
            assert_eq!(status(&layer, format!("bcrypt:{number}")).await, 401);
            assert_eq!(status(&layer, format!("{number}:secret")).await, 401);
        }
        let free = block();
        assert_eq!(answers_at_once(&layer, "bcrypt:secret").status(), 200);
        assert_pending!(spawned(&layer, "bcrypt:1").poll());
        drop(free);
    });
}

#[test]
fn what_was_remembered_is_forgotten_in_time() {
    let is_remembered = |layer: &BasicAuthLayer| {
        let free = block();
        let is_ready = spawned(layer, "bcrypt:secret").poll().is_ready();
        drop(free);
        is_ready
    };
    runtime().block_on(async {
        let layer = BasicAuthLayer::new(users()).remember(Duration::from_secs(60));
        assert_eq!(status(&layer, "bcrypt:secret").await, 200);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(is_remembered(&layer));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!is_remembered(&layer));
        for (time, expected) in [(Duration::ZERO, false), (Duration::MAX, true)] {
            let layer = BasicAuthLayer::new(users()).remember(time);
            assert_eq!(status(&layer, "bcrypt:secret").await, 200);
            assert_eq!(is_remembered(&layer), expected, "{time:?}");
        }
    });
}

#[tokio::test]
async fn other_users_take_the_place_of_the_first_and_those_who_stay_are_remembered() {
    let layer = BasicAuthLayer::new(users());
    for credentials in ["bcrypt:secret", "eve:pässwörd", "argon2:secret"] {
        assert_eq!(status(&layer, credentials).await, 200);
    }
    let mut others = Users::new();
    others
        .add_lines(FILE.split("\n\n").next().unwrap())
        .unwrap();
    // The hash of `secret`, with another cost.
    others
        .add_hash("eve", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
        .unwrap();
    layer.set_users(others);
    assert_eq!(answers_at_once(&layer, "bcrypt:secret").status(), 200);
    for (credentials, expected) in [
        ("bcrypt:secret", 200),
        ("argon2:secret", 401),
        ("plain:secret", 401),
        ("eve:pässwörd", 401),
        ("eve:secret", 200),
    ] {
        assert_eq!(status(&layer, credentials).await, expected, "{credentials}");
    }
}

#[tokio::test]
async fn one_layer_applied_twice_shares_its_state() {
    let layer = BasicAuthLayer::new(users());
    let app: Router = Router::new()
        .route("/a", get(|| async { "a" }).layer(layer.clone()))
        .route("/b", get(|| async { "b" }).layer(layer.clone()));
    let ask = |target: &str| {
        let request = basic("bcrypt:secret").uri(target);
        app.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask("/a").await.unwrap().status(), 200);
    // It was hashed for the one, and is remembered for the other.
    let response = assert_ready!(task::spawn(ask("/b")).poll()).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    layer.set_users(Users::new());
    for target in ["/a", "/b"] {
        assert_eq!(ask(target).await.unwrap().status(), 401);
    }
}

#[test]
fn a_line_that_is_wrong_is_named_and_not_quoted() {
    let long = format!("{}:{EVE}", "n".repeat(MAX_CREDENTIALS_BYTES));
    for (line, error) in [
        ("ann", UserError::NoColon),
        (&*format!(":{EVE}"), UserError::Name),
        (&*format!("a\tb:{EVE}"), UserError::Name),
        (&*long, UserError::TooLong),
        (&*format!("first:{EVE}"), UserError::Duplicate),
        ("ann:", UserError::Hash(HashError::NotHashed)),
        ("ann:s3cret", UserError::Hash(HashError::NotHashed)),
        (
            "ann:$6$salt$s3cret",
            UserError::Hash(HashError::Kind("sha512-crypt")),
        ),
    ] {
        let text = format!("first:{EVE}\n\n{line}\nlast:{EVE}");
        let found = Users::new().add_lines(&text).unwrap_err();
        assert_eq!((found.line, found.error), (3, error), "{line:.40}");
        assert!(!found.to_string().contains("s3cret"), "{found}");
    }
    for (name, password, error) in [
        ("ann", "", UserError::Password),
        ("ann", "a\nb", UserError::Password),
        ("", "secret", UserError::Name),
        ("a:b", "secret", UserError::Name),
    ] {
        let found = Users::new().add_password(name, password).unwrap_err();
        assert_eq!(found, error, "{name:?} {password:?}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let text = format!("{:?} {:?}", BasicAuthLayer::new(users()), users());
    assert!(
        text.contains("7 users") && !text.contains("secret"),
        "{text}"
    );
    assert!(!text.contains('$'), "{text}");
}
