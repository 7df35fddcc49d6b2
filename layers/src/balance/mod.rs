//! Spreads requests over the members of a pool. It picks in `call`, because the request may decide.
//!
//! It is our own beside `tower::balance`, which cannot be cloned, knows no weights, and chooses before
//! it has seen the request.
//!
//! ```
//! use a3s_layers::balance::{Balance, Member, Strategy};
//! use a3s_layers::endpoint::Endpoint;
//! use tower::{ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let member = |name: &'static str| Member {
//!     endpoint: Endpoint::new(name),
//!     weight: 1,
//!     service: service_fn(move |_: ()| async move { Ok::<_, tower::BoxError>(name) }),
//! };
//! let balance = Balance::new(Strategy::RoundRobin, vec![member("a"), member("b")]);
//! let first = balance.clone().oneshot(()).await.unwrap();
//! let second = balance.clone().oneshot(()).await.unwrap();
//! assert_ne!(first, second);
//! # });
//! ```

mod strategy;

pub use strategy::Strategy;

use crate::endpoint::Endpoint;
use crate::error::{BoxError, Failure, UpstreamError};
use crate::tried::Tries;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use strategy::Picker;
use tower::Service;
use tower::util::{Oneshot, ServiceExt};

/// One server of a balance.
#[derive(Debug, Clone)]
pub struct Member<S> {
    /// Its handle, which knows its load.
    pub endpoint: Arc<Endpoint>,
    /// Its share of the traffic, 0 to 65535; 0 takes none.
    pub weight: u32,
    /// The stack that leads to it.
    pub service: S,
}

/// A pool of servers as one service. Clones share the pool and its state.
///
/// It is always ready; where no member takes traffic it fails with [`Failure::Unavailable`]. A request that says where
/// it has been tried ([`Tried`](crate::tried::Tried)) goes to another member, whatever the strategy, as long as there
/// is one that takes traffic; if all were tried, to any.
#[derive(Debug)]
pub struct Balance<S> {
    pool: Arc<Pool<S>>,
}

#[derive(Debug)]
struct Pool<S> {
    members: Box<[Member<S>]>,
    picker: Picker,
}

impl<S> Balance<S> {
    /// Spreads requests over `members` by `strategy`.
    pub fn new(strategy: Strategy, members: Vec<Member<S>>) -> Self {
        let weights: Vec<_> = members.iter().map(|member| member.weight).collect();
        Self {
            pool: Arc::new(Pool {
                picker: Picker::new(strategy, &weights),
                members: members.into(),
            }),
        }
    }
}

impl<S> Pool<S> {
    fn pick(&self, request: &impl Tries) -> Option<&Member<S>> {
        let Some(tried) = request.tried() else {
            let index = self.picker.pick(&self.members, &[])?;
            return Some(&self.members[index]);
        };
        let index = self.picker.pick(&self.members, &tried.endpoints())?;
        let member = &self.members[index];
        tried.add(&member.endpoint);
        Some(member)
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
        }
    }
}

impl<S, R> Service<R> for Balance<S>
where
    S: Service<R> + Clone,
    S::Error: Into<BoxError>,
    R: Tries,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BalanceFuture<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        BalanceFuture {
            inner: self
                .pool
                .pick(&request)
                .map(|member| member.service.clone().oneshot(request)),
        }
    }
}

pin_project! {
    /// The future of [`Balance`].
    pub struct BalanceFuture<S: Service<R>, R> {
        #[pin]
        inner: Option<Oneshot<S, R>>,
    }
}

impl<S, R> Future for BalanceFuture<S, R>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(Into::into),
            None => Poll::Ready(Err(UpstreamError::from(Failure::Unavailable).into())),
        }
    }
}
