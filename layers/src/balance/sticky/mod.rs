//! Sessions: a cookie that names a server, so that the requests of a client stay there.
//!
//! The value of the cookie is a [`Token`]: a keyed hash of the server's name ([`Key`], feature `sticky`), the same in
//! every process that has the key. Nothing is remembered of a client, so there is no table that grows with them, and
//! sessions outlive a restart. A token that is nobody's means nothing.
//!
//! A [`SessionLayer`] around the [`Balance`](super::Balance) reads the cookie into an [`Affinity`], the balance goes by
//! it ([`Balance::sticky`](super::Balance::sticky)), and a [`KeepLayer`] in the stack of each member sets the cookie on
//! the answers to those who do not have it. So it is always the member that has answered who is named, whatever was
//! tried before.
//!
//! ```
//! use a3s_layers::balance::sticky::{Cookie, KeepLayer, SessionLayer, Sticky, Token};
//! use a3s_layers::balance::{Balance, Member, Strategy};
//! use a3s_layers::endpoint::{Endpoint, PlaceLayer};
//! use axum::body::Body;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let sticky = Sticky::new(Cookie::new("session")).unwrap();
//! // With the feature `sticky`, a `Key` makes them of names.
//! let tokens = |endpoint: &Endpoint| Token::new(endpoint.id().parse().unwrap());
//! let member = |number: u8| {
//!     let endpoint = Endpoint::new(number.to_string());
//!     Member {
//!         service: ServiceBuilder::new()
//!             .layer(PlaceLayer::new())
//!             .layer(KeepLayer::new(&sticky, tokens(&endpoint)))
//!             .service(service_fn(move |_: Request<Body>| async move {
//!                 Ok::<_, tower::BoxError>(Response::new(number.to_string()))
//!             })),
//!         endpoint,
//!         weight: 1,
//!     }
//! };
//! let balance = Balance::new(Strategy::RoundRobin, vec![member(1), member(2)]).sticky(tokens);
//! let service = SessionLayer::new(&sticky).layer(balance);
//!
//! let first = service.clone().oneshot(Request::new(Body::empty())).await.unwrap();
//! let cookie = &first.headers()["set-cookie"];
//! assert_eq!(cookie, "session=00000000000000000000000000000001; Path=/");
//! for _ in 0..3 {
//!     let request = Request::get("/").header("cookie", cookie).body(Body::empty()).unwrap();
//!     let next = service.clone().oneshot(request).await.unwrap();
//!     assert!(!next.headers().contains_key("set-cookie"));
//! }
//! # });
//! ```

mod affinity;
mod cookie;
#[cfg(feature = "sticky")]
mod key;
mod layer;

pub use affinity::{Affinity, Token};
pub use cookie::{Cookie, CookieError, SameSite, Sticky};
#[cfg(feature = "sticky")]
pub use key::Key;
pub use layer::{Keep, KeepFuture, KeepLayer, Session, SessionLayer};

use super::Member;
use crate::endpoint::Endpoint;
use std::fmt;
use std::sync::Arc;

/// Makes the tokens of the members of a balance.
#[derive(Clone)]
pub(super) struct Tokens(Arc<dyn Fn(&Endpoint) -> Token + Send + Sync>);

impl Tokens {
    pub(super) fn new(tokens: impl Fn(&Endpoint) -> Token + Send + Sync + 'static) -> Self {
        Self(Arc::new(tokens))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").finish_non_exhaustive()
    }
}

/// The members of a balance by their tokens, in order.
#[derive(Debug, Default)]
pub(super) struct Sessions(Box<[(Token, u32)]>);

impl Sessions {
    pub(super) fn new<S>(tokens: Option<&Tokens>, members: &[Member<S>]) -> Self {
        let Some(Tokens(token)) = tokens else {
            return Self::default();
        };
        let indexed = (0u32..).zip(members);
        let mut sessions: Vec<_> = indexed
            .map(|(index, member)| (token(&member.endpoint), index))
            .collect();
        sessions.sort_unstable();
        Self(sessions.into())
    }

    /// The members that a request belongs to: one for each of its tokens that is somebody's.
    pub(super) fn of(&self, affinity: &Affinity) -> impl Iterator<Item = usize> {
        affinity.tokens().filter_map(|token| {
            let found = self.0.binary_search_by_key(&token, |(token, _)| *token);
            found.ok().map(|found| self.0[found].1 as usize)
        })
    }
}
