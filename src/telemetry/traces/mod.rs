//! Traces: which are recorded, the spans that they are made of, and how those come to the collector.
//!
//! A request whose trace is not recorded costs the reading of its headers, and a header where it had none. Of one that
//! is, the journal notes when it came where, and its spans are made of that when it is over: only then is it known
//! which middlewares did something, and no second subscriber has to listen to everything that is logged.

mod counts;

#[cfg(feature = "otlp")]
mod acted;
#[cfg(feature = "otlp")]
mod attributes;
#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(feature = "otlp")]
mod tracer;

#[cfg(not(feature = "otlp"))]
mod absent;

pub use counts::SpanCounts;

#[cfg(feature = "otlp")]
pub use collector::{Collector, Protocol};
#[cfg(feature = "otlp")]
pub use export::{Exporter, Queue, Resource};
#[cfg(feature = "otlp")]
pub use tracer::{Traced, Tracer};

#[cfg(not(feature = "otlp"))]
pub use absent::{Exporter, Traced, Tracer};
