//! What would become of a request.

use super::Live;
use crate::dispatch::explain::{Explainer, Explanation, Question, Unaskable};
use crate::stack::{Request, Response};
use a3s_layers::journal::Journal;
use axum::Json;
use axum::extract::State as Of;
use axum::response::IntoResponse;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// Where too many wait, they may come again after so many seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("1");

pub(super) async fn explain(Of(live): Of<Arc<Live>>, request: Request) -> Response {
    // An explanation of this very page would have another one in it, and so on.
    if Journal::rehearsed(&request).is_some() {
        return refuse(StatusCode::BAD_REQUEST, "a rehearsal explains nothing");
    }
    let question = match question(request.uri().query().unwrap_or_default()) {
        Ok(question) => question,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    // With many routers it takes long: one at a time, and not on a thread that serves.
    let Some(turn) = live.explanations.take().await else {
        let mut busy = refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many explanations are asked for at a time",
        );
        busy.headers_mut().insert(RETRY_AFTER, COME_AGAIN);
        return busy;
    };
    let explainer = Arc::clone(&live.snapshot().explainer);
    let told = tokio::task::spawn_blocking(move || {
        // It is over when it is done, and not when nobody waits for it any more.
        let _turn = turn;
        match told(&explainer, &question) {
            Ok(told) => Json(told).into_response(),
            Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
        }
    });
    told.await.unwrap_or_else(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        refuse(status, "the explanation has failed")
    })
}

fn refuse(status: StatusCode, error: &str) -> Response {
    let body = json!({ "error": error, "status": status.as_u16() });
    (status, Json(body)).into_response()
}

fn told(explainer: &Explainer, question: &Question) -> Result<Explanation, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let told = runtime.block_on(explainer.explain(question));
    told.map_err(|error| error.to_string())
}

fn question(query: &str) -> Result<Question, String> {
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let broken = || "the query is not encoded as a form".to_owned();
            Ok((
                decoded(name).ok_or_else(broken)?,
                decoded(value).ok_or_else(broken)?,
            ))
        })
        .collect::<Result<_, String>>()?;
    let only = |name: &str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(format!("`{name}` is there twice")),
            (first, _) => Ok(first.map(|(_, value)| &**value)),
        }
    };
    let told = |error: Unaskable| error.to_string();
    let url = only("url")?.ok_or("`url` is missing")?;
    let mut question = Question::new(only("method")?.unwrap_or("GET"), url).map_err(told)?;
    if let Some(ip) = only("client_ip")? {
        question = question.client_ip_text(ip).map_err(told)?;
    }
    if let Some(name) = only("sni")? {
        question = question.server_name(name);
    }
    if let Some(name) = only("entrypoint")? {
        question = question.entrypoint(name);
    }
    for (name, value) in &pairs {
        question = match &**name {
            "header" => question.header(value).map_err(told)?,
            "alpn" => question.alpn(value),
            "method" | "url" | "client_ip" | "sni" | "entrypoint" => question,
            _ => {
                return Err(
                    "known here: method, url, header, client_ip, sni, alpn, entrypoint".to_owned(),
                );
            }
        };
    }
    Ok(question)
}

/// As forms are encoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_as_a_form() {
        for (text, expected) in [
            ("a+b%20c", Some("a b c")),
            ("%C3%A9", Some("é")),
            ("%zz", None),
            ("%4", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (query, told) in [
            ("", "`url` is missing"),
            ("url=/&url=/", "twice"),
            ("url=%zz", "encoded"),
            ("url=/&colour=red", "known here"),
            ("url=/&method=G%20T", "not a method"),
            ("url=/&header=a", "Name: value"),
            ("url=/&header=a:b%0d%0ac:d", "no header can carry"),
            ("url=/&header=a%0d%0ab:c", "not one of HTTP"),
            ("url=/&client_ip=here", "not an IP address"),
            ("url=http://a%20b/", "not a URL"),
        ] {
            let error = question(query).expect_err(query);
            assert!(error.contains(told), "{query}: {error}");
        }
        assert!(question("url=/&header=A:%20b&header=c:d&alpn=h2").is_ok());
    }
}
