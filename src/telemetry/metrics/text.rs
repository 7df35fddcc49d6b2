//! The text that metrics are scraped in: Prometheus' own, version 0.0.4, or OpenMetrics 1.0.

use super::buckets::{BOUNDS, BUCKETS};
use std::fmt::{Display, Write};
use std::hash::{BuildHasher, Hasher};

/// The longest value of a label, in bytes; what is longer is cut, and ends in a hash of the whole.
const LONGEST: usize = 200;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Prometheus' text.
    #[default]
    Prometheus,
    /// OpenMetrics' text.
    OpenMetrics,
}

impl Form {
    /// As `Content-Type` has it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// It only grows. `_total` is added to its name.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A count of durations by their length.
    Histogram,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels and their values.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// A scrape being written.
#[derive(Debug)]
pub struct Exposition {
    form: Form,
    text: String,
}

impl Exposition {
    /// Nothing is written yet.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            text: String::new(),
        }
    }

    /// Begins a metric. One without samples is not written. What it is, is told without a full stop.
    pub fn family<'e>(&'e mut self, name: &'e str, is: &'e str, of: Type) -> Family<'e> {
        Family {
            out: self,
            name,
            is,
            of,
            has_begun: false,
        }
    }

    /// All that was written.
    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// A metric being written.
#[derive(Debug)]
pub struct Family<'e> {
    out: &'e mut Exposition,
    name: &'e str,
    is: &'e str,
    of: Type,
    has_begun: bool,
}

impl Family<'_> {
    /// One series. Its labels must be others than those of the series before.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        let suffix = match self.of {
            Type::Counter => "_total",
            Type::Gauge | Type::Histogram => "",
        };
        self.line(suffix, labels, None, value);
    }

    /// A series of a histogram: the counts of each bucket, and the sum in seconds. Only the buckets that `is_shown`
    /// says are written, and the last one.
    pub fn histogram(
        &mut self,
        labels: Labels<'_>,
        counts: &[u64; BUCKETS],
        seconds: f64,
        is_shown: impl Fn(&str) -> bool,
    ) {
        let mut sum = 0;
        for (index, count) in counts.iter().enumerate() {
            sum += count;
            match BOUNDS.get(index) {
                Some((_, bound)) if !is_shown(bound) => {}
                Some((_, bound)) => self.line("_bucket", labels, Some(bound), sum),
                None => self.line("_bucket", labels, Some("+Inf"), sum),
            }
        }
        self.line("_sum", labels, None, seconds);
        self.line("_count", labels, None, sum);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.begin();
        let text = &mut self.out.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            text.push(separator);
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value);
            text.push('"');
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        // Writing into a String does not fail.
        let _ = writeln!(text, " {value}");
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let Exposition { form, text } = &mut *self.out;
        let (name, is, of) = (self.name, self.is, self.of.as_str());
        let _ = match (form, self.of) {
            (Form::Prometheus, Type::Counter) => {
                writeln!(text, "# HELP {name}_total {is}\n# TYPE {name}_total {of}")
            }
            _ => writeln!(text, "# HELP {name} {is}\n# TYPE {name} {of}"),
        };
    }
}

/// Writes the value of a label, so that it ends where it ends, and no longer than it may be.
fn escape(text: &mut String, value: &str) {
    let is_long = value.len() > LONGEST;
    let shown = value
        .char_indices()
        .take_while(|(at, char)| at + char.len_utf8() <= LONGEST);
    for (_, char) in shown {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            char => text.push(char),
        }
    }
    if is_long {
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        hasher.write(value.as_bytes());
        let _ = write!(text, "~{:016x}", hasher.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form) -> String {
        let mut out = Exposition::new(form);
        let mut family = out.family("a_requests", "Requests", Type::Counter);
        family.sample(&[("name", "a \"b\"\\\nc")], 3);
        family.sample(&[], 0.5);
        out.family("a_none", "Nothing", Type::Gauge);
        let mut counts = [0; BUCKETS];
        (counts[0], counts[7], counts[16]) = (1, 2, 3);
        let is_shown = |bound: &str| bound == "0.1" || bound == "5.0";
        out.family("a_seconds", "Time", Type::Histogram).histogram(
            &[("x", "y")],
            &counts,
            1.25,
            is_shown,
        );
        out.finish()
    }

    #[test]
    fn both_forms_are_as_they_are_specified() {
        let expected = r#"# HELP a_requests_total Requests
# TYPE a_requests_total counter
a_requests_total{name="a \"b\"\\\nc"} 3
a_requests_total 0.5
# HELP a_seconds Time
# TYPE a_seconds histogram
a_seconds_bucket{x="y",le="0.1"} 3
a_seconds_bucket{x="y",le="5.0"} 3
a_seconds_bucket{x="y",le="+Inf"} 6
a_seconds_sum{x="y"} 1.25
a_seconds_count{x="y"} 6
"#;
        assert_eq!(written(Form::Prometheus), expected);
        let mut expected = expected
            .replace("HELP a_requests_total", "HELP a_requests")
            .replace("TYPE a_requests_total", "TYPE a_requests");
        expected += "# EOF\n";
        assert_eq!(written(Form::OpenMetrics), expected);
    }

    #[test]
    fn a_long_value_is_cut_and_stays_another_than_its_like() {
        let value = |last: &str| {
            let mut text = String::new();
            escape(&mut text, &format!("{}{last}", "ä".repeat(500)));
            text
        };
        assert!(value("a").len() <= LONGEST + 17);
        assert_ne!(value("a"), value("b"));
        assert_eq!(value("a"), value("a"));
    }
}
