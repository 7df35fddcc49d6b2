//! Which trace a request belongs to, as its headers say: [W3C Trace Context] (levels 1 and 2) and [B3], with one header
//! or several.
//!
//! What comes is read strictly and never fails: headers that are malformed are as good as none, and a new trace begins.
//! What is sent on is in the form in which it came, and in W3C's where there was none.
//!
//! ```
//! use a3s_layers::trace_context::{Sampler, TraceContext, TraceContextLayer};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio_test::block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(TraceContextLayer::new(Sampler::ratio(0.1)))
//!     .service(service_fn(|request: Request<()>| async move {
//!         let context = request.extensions().get::<TraceContext>().unwrap();
//!         assert!(context.is_sampled());
//!         Ok::<_, std::convert::Infallible>(Response::new(context.trace_id.to_string()))
//!     }));
//! let request = Request::builder()
//!     .header("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")
//!     .body(())
//!     .unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.body(), "80f198ee56343ba864fe8b2a57d3eff7");
//! # });
//! ```
//!
//! [W3C Trace Context]: https://www.w3.org/TR/trace-context-2/
//! [B3]: https://github.com/openzipkin/b3-propagation

mod b3;
mod id;
mod layer;
mod w3c;

pub use id::{SpanId, TraceId};
pub use layer::{TraceContextLayer, TraceContextService};

use http::{HeaderMap, HeaderName};

/// Whether a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It is not.
    Denied,
    /// It is.
    Accepted,
    /// It is, whatever anybody's ratio (B3's debug flag).
    Debug,
}

impl Decision {
    /// Whether it is recorded.
    pub fn is_sampled(self) -> bool {
        self != Self::Denied
    }
}

/// The forms of the headers, and what of them is kept from hop to hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Forms {
    w3c: bool,
    b3_single: bool,
    b3_multi: bool,
    /// The trace's ID came in 64 bits, and is sent on so in B3.
    is_short: bool,
    /// The ID is known to be random (W3C level 2).
    is_random: bool,
}

/// What the headers of one form say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    ids: Option<(TraceId, SpanId)>,
    decision: Option<Decision>,
    is_short: bool,
    is_random: bool,
}

/// What the headers of a request say of the trace that it belongs to.
///
/// Where they say it in several forms, all of those are sent on, and W3C's is believed, then B3's one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incoming {
    ids: Option<(TraceId, SpanId)>,
    decision: Option<Decision>,
    forms: Forms,
}

impl Incoming {
    /// Reads them.
    pub fn read(headers: &HeaderMap) -> Self {
        if !headers.keys().any(is_ours) {
            return Self::default();
        }
        let (w3c, single, multi) = (
            w3c::read(headers),
            b3::read_single(headers),
            b3::read_multi(headers),
        );
        let Some(said) = w3c.or(single).or(multi) else {
            return Self::default();
        };
        Self {
            ids: said.ids,
            decision: said.decision,
            forms: Forms {
                w3c: w3c.is_some(),
                b3_single: single.is_some(),
                b3_multi: multi.is_some(),
                is_short: said.is_short,
                is_random: said.is_random,
            },
        }
    }

    /// The trace.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.ids.map(|(trace_id, _)| trace_id)
    }

    /// The span that the request was sent from.
    pub fn parent(&self) -> Option<SpanId> {
        self.ids.map(|(_, span_id)| span_id)
    }

    /// What was decided before; B3 can leave it open.
    pub fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// Goes on with the trace, or begins one: with an own span, and a decision where there is none yet.
    pub fn next(&self, sampler: Sampler) -> TraceContext {
        let mut forms = self.forms;
        let trace_id = self.trace_id().unwrap_or_else(|| {
            forms.is_random = true;
            TraceId::random()
        });
        if !(forms.w3c || forms.b3_single || forms.b3_multi) {
            forms.w3c = true;
        }
        TraceContext {
            trace_id,
            span_id: SpanId::random(),
            parent: self.parent(),
            decision: self.decision.unwrap_or_else(|| sampler.decide(trace_id)),
            forms,
        }
    }

    /// Removes from `headers`, which it was read from, what could not be believed: forms that are malformed, and a
    /// `tracestate` that is, or that stands alone. One of more than 512 bytes loses members as [W3C] has it: those of
    /// more than 128 bytes first, and then the last ones.
    ///
    /// [W3C]: https://www.w3.org/TR/trace-context-2/#tracestate-limits
    pub fn tidy(&self, headers: &mut HeaderMap) {
        if !headers.keys().any(is_ours) {
            return;
        }
        match self.forms.w3c {
            true => w3c::tidy_state(headers),
            false => w3c::remove(headers),
        }
        if !self.forms.b3_single {
            b3::remove_single(headers);
        }
        if !self.forms.b3_multi {
            b3::remove_multi(headers);
        }
    }
}

/// Whether a header is one of those that are read here. Most requests have none: one look at each name costs less than
/// to look for each of the eight.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with(b3::PREFIX) || ["traceparent", "tracestate", "b3"].contains(&name)
}

/// Where a request stands in its trace: an extension of the request, by [`TraceContextLayer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the request is in now; whoever is asked in its course has it for a parent.
    pub span_id: SpanId,
    /// The span before.
    pub parent: Option<SpanId>,
    decision: Decision,
    forms: Forms,
}

impl TraceContext {
    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.decision.is_sampled()
    }

    /// The decision.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The same trace one span further down.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: SpanId::random(),
            parent: Some(self.span_id),
            ..*self
        }
    }

    /// Writes it in place of what stands there, in each form in which the context came. `tracestate` is left as it is.
    pub fn write(&self, headers: &mut HeaderMap) {
        if self.forms.w3c {
            w3c::write(self, headers);
        }
        if self.forms.b3_single {
            b3::write_single(self, headers);
        }
        if self.forms.b3_multi {
            b3::write_multi(self, headers);
        }
    }
}

/// Decides which traces are recorded where nobody has yet.
///
/// It goes by the trace's ID: of two who decide with one ratio, both record the same traces ([consistent probability
/// sampling], with the 56 rightmost bits as the random value).
///
/// [consistent probability sampling]: https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    rejected: u64,
}

/// How many random values there are.
const VALUES: u64 = 1 << 56;

impl Sampler {
    /// This part of all traces, from 0 to 1; what is outside is the nearer of the two, and what is no number 0.
    pub fn ratio(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio };
        let accepted = (ratio.clamp(0.0, 1.0) * VALUES as f64) as u64;
        Self {
            rejected: VALUES - accepted,
        }
    }

    fn decide(self, trace_id: TraceId) -> Decision {
        match trace_id.random_part() >= self.rejected {
            true => Decision::Accepted,
            false => Decision::Denied,
        }
    }
}
