//! Asks a gateway that runs for its configuration, through its admin API.

use super::Exit;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the token comes from if no file is named.
pub(super) const TOKEN: &str = "A3S_GATEWAY_TOKEN";

/// How long the answer may take, from the look-up of the name to its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 32 << 20;

/// The largest file that is read as a token, in bytes.
const MAX_TOKEN: u64 = 8 << 10;

/// The root of the admin API.
const API: &str = "/api/gateway";

/// Why the configuration of a running gateway is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("{0}")]
    Url(&'static str),
    #[error("the token cannot be read: {file}: {source}", file = file.display())]
    TokenFile { file: PathBuf, source: io::Error },
    #[error("the token is not one: it has characters that a header cannot have, or none")]
    Token,
    #[error("{url} cannot be reached: {source}")]
    Unreachable { url: Uri, source: io::Error },
    #[error("{url} does not answer as HTTP does: {source}")]
    NotHttp { url: Uri, source: hyper::Error },
    #[error("{url} has not answered within {} s", PATIENCE.as_secs())]
    Slow { url: Uri },
    #[error(
        "{url} asks for a token (401): put that of `admin {{ token }}` into {TOKEN}, or name a file with --token-file"
    )]
    NoToken { url: Uri },
    #[error(
        "{url} does not take this token (401): it is to be that of `admin {{ token }}` of the gateway that runs"
    )]
    WrongToken { url: Uri },
    #[error(
        "{url} refuses (403): this address has to be among `admin {{ allowed_ips }}`, and a host name other than localhost needs a token, in {TOKEN} or by --token-file"
    )]
    Refused { url: Uri },
    #[error("{url} leads elsewhere ({status}), to {to}: redirects are not followed, name that one")]
    Redirect {
        url: Uri,
        status: StatusCode,
        to: String,
    },
    #[error("{url} is not the admin API of a gateway: it answers {status}")]
    Status { url: Uri, status: StatusCode },
    #[error("{url} is not the admin API of a gateway: its answer is not JSON")]
    NotJson { url: Uri },
    #[error("the answer of {url} does not end, or breaks off: {source}")]
    Body {
        url: Uri,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no runtime: {0}")]
    Runtime(io::Error),
}

impl From<Unknown> for Exit {
    fn from(unknown: Unknown) -> Exit {
        super::complain(&unknown);
        Exit::Failed
    }
}

/// Whether it names a gateway that runs, and not a file.
pub(super) fn is_url(against: &Path) -> bool {
    let text = against.as_os_str().as_encoded_bytes();
    let starts = |with: &[u8]| {
        let start = text.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    starts(b"http://") || starts(b"https://")
}

/// What `GET /api/gateway/config` answers at `url`, which is the gateway's admin API with its path or without.
pub(super) fn configuration(url: &Path, token_file: Option<&Path>) -> Result<Value, Unknown> {
    let url = page(url.to_str().unwrap_or_default())?;
    let token = token(token_file)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Unknown::Runtime)?;
    let answer = async {
        match tokio::time::timeout(PATIENCE, ask(&url, token)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unknown::Slow { url: url.clone() }),
        }
    };
    let answer = runtime.block_on(answer);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    serde_json::from_slice(&answer?).map_err(|_| Unknown::NotJson { url })
}

fn page(url: &str) -> Result<Uri, Unknown> {
    const NONE: Unknown = Unknown::Url("--against: this is no URL");
    let uri: Uri = url.parse().map_err(|_| NONE)?;
    let authority = uri.authority().ok_or(NONE)?;
    if authority.as_str().contains('@') {
        let text = "--against: a URL has no user and no password here; give the token in A3S_GATEWAY_TOKEN, or by --token-file";
        return Err(Unknown::Url(text));
    }
    if authority.port_u16().is_none() && authority.as_str() != authority.host() {
        return Err(Unknown::Url("--against: the port is not one"));
    }
    if uri.query().is_some() {
        return Err(Unknown::Url("--against: the URL has a query"));
    }
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix(API).unwrap_or(path);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{path}{API}/config").parse().ok();
    Uri::from_parts(parts).map_err(|_| NONE)
}

fn token(file: Option<&Path>) -> Result<Option<HeaderValue>, Unknown> {
    let text = match file {
        Some(file) => read(file).map(Some).map_err(|source| Unknown::TokenFile {
            file: file.to_owned(),
            source,
        })?,
        None => std::env::var_os(TOKEN).map(|text| text.into_string().unwrap_or_default()),
    };
    let Some(text) = text else {
        return Ok(None);
    };
    let text = text.trim();
    let value = HeaderValue::from_str(&format!("Bearer {text}"));
    let mut value = value.map_err(|_| Unknown::Token)?;
    if text.is_empty() {
        return Err(Unknown::Token);
    }
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(file)?;
    file.take(MAX_TOKEN).read_to_string(&mut text)?;
    Ok(text)
}

async fn ask(url: &Uri, token: Option<HeaderValue>) -> Result<Bytes, Unknown> {
    let has_token = token.is_some();
    let response = send(url, token).await?;
    let (status, url) = (response.status(), url.clone());
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED if has_token => return Err(Unknown::WrongToken { url }),
        StatusCode::UNAUTHORIZED => return Err(Unknown::NoToken { url }),
        StatusCode::FORBIDDEN => return Err(Unknown::Refused { url }),
        status if status.is_redirection() => {
            let to = response.headers().get(LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let to = to.to_owned();
            return Err(Unknown::Redirect { url, status, to });
        }
        status => return Err(Unknown::Status { url, status }),
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    let body = body.await.map_err(|source| Unknown::Body { url, source })?;
    Ok(body.to_bytes())
}

async fn send(url: &Uri, token: Option<HeaderValue>) -> Result<Response<Incoming>, Unknown> {
    let unreachable = |source| Unknown::Unreachable {
        url: url.clone(),
        source,
    };
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(unreachable)?;
    let mut request = Request::get(url.path())
        .header(HOST, url.authority().map_or("", |host| host.as_str()))
        .header("accept", "application/json")
        .body(Empty::new())
        .map_err(|_| Unknown::Url("--against: this is no URL"))?;
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    let response = match is_https {
        true => {
            let stream = encrypted(host, stream).await.map_err(unreachable)?;
            exchange(stream, request).await
        }
        false => exchange(stream, request).await,
    };
    response.map_err(|source| Unknown::NotHttp {
        url: url.clone(),
        source,
    })
}

/// By the system's authorities, or those that `SSL_CERT_FILE` names.
async fn encrypted(host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How it ends, the answer tells.
    tokio::spawn(async { drop(connection.await) });
    sender.send_request(request).await
}
