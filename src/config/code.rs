//! The kinds of problems: one table of stable codes.

use serde::{Serialize, Serializer};

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, and probably not meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $summary:literal;)*) => {
        /// A kind of problem. Its code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $summary] $name,)*
        }

        impl Code {
            /// Every kind there is.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// As it is printed: `E012`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// What it stands for, in one sentence.
            pub fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)* }
            }
        }
    };
}

codes! {
    Syntax = "E001", "The file is not HCL.";
    Unreadable = "E002", "A file or directory cannot be read.";
    Empty = "E003", "The file is empty.";
    UnknownKey = "E004", "A key or block is not known here.";
    WrongType = "E005", "A value is of the wrong type.";
    InvalidValue = "E006", "A value is of the right type and means nothing.";
    MissingKey = "E007", "A required key is missing.";
    OutOfRange = "E008", "A number or duration is out of its range.";
    UnknownVariable = "E009", "A variable is not declared, or not set in the environment.";
    Expression = "E010", "An expression cannot be evaluated.";
    Duplicate = "E011", "Something is declared twice.";
    UnknownReference = "E012", "A name refers to nothing.";
    Choice = "E013", "Keys exclude or need one another.";
    SameAddress = "E014", "Two listeners have one address.";
    NoEntrypoint = "E015", "The configuration has no entrypoint.";
    NotHere = "E016", "The block may not stand in this file.";
    TooMany = "E017", "There are more problems than are worth listing.";
    Unusable = "E018", "What the configuration names cannot be used.";
    Cycle = "E019", "Something refers to itself, by way of others.";
    UnknownType = "E020", "A middleware is of a type that nobody knows.";
    Mixed = "E021", "One is for requests and the other for connections.";
    FailedTest = "E022", "A test of the configuration fails.";
    RuleWarning = "W001", "A rule is probably not what was meant.";
    Unreachable = "W002", "A router can never be reached.";
    SamePriority = "W003", "Two routers match the same requests at the same priority.";
    Unused = "W004", "Something is declared and used by nobody.";
    OpenKey = "W005", "Everybody can read a private key.";
    NoDirectory = "W006", "The directory of the file provider does not exist.";
    NoTraffic = "W007", "No server of the service takes new requests.";
    OpenAdmin = "W008", "Everybody who reaches the admin API may ask.";
    PlainSecret = "W009", "A secret stands in the file as it is, where a hash would do.";
    WeakSecret = "W010", "A secret is so short that it can be guessed.";
    WideCache = "W011", "An answer for one page is remembered for all.";
    Expired = "W012", "A certificate has expired.";
    FailedTestWarning = "W013", "A test of the configuration fails.";
}

impl Code {
    /// Errors begin with `E`, warnings with `W`.
    pub fn severity(self) -> Severity {
        match self.as_str().starts_with('E') {
            true => Severity::Error,
            false => Severity::Warning,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_code_is_given_twice() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }
}
