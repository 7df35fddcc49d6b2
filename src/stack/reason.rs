//! Why an exchange ended as it did, in one word: what the access log, the metrics and the traces have in common.
//!
//! Beside these there are the words of [`Failure::reason`](a3s_layers::error::Failure::reason), those that layers give
//! in a [`Reason`](a3s_layers::reject::Reason), and the type of the middleware that answered instead of passing on.

/// The client went away: before there was an answer, or in the middle of it.
pub const CLIENT_CLOSED: &str = "client_closed";

/// An answer broke off: its server failed, or took too long, after its head had been sent on.
pub const RESPONSE_CUT: &str = "response_cut";

/// No router takes the request.
pub const NO_ROUTE: &str = "no_route";

/// The host asks for a TLS connection on other terms.
pub const MISDIRECTED: &str = "misdirected";

/// A request that is not HTTP, or whose meaning is not certain.
pub const MALFORMED: &str = "malformed";

/// A request for a protocol, or a method, that is not spoken here.
pub const NOT_SPOKEN: &str = "not_spoken";

/// The head of a request took too long.
pub const SLOW_HEAD: &str = "slow_head";

/// The target of a request is too long.
pub const TARGET_TOO_LONG: &str = "target_too_long";

/// The head of a request is too large, or has too many fields.
pub const HEAD_TOO_LARGE: &str = "head_too_large";

/// A fault of the gateway itself.
pub const INTERNAL: &str = "internal";

/// A service of the gateway's own has refused the request.
pub const REFUSED: &str = "refused";

/// What layers say in a [`Reason`](a3s_layers::reject::Reason).
pub const OF_LAYERS: [&str; 2] = ["circuit_open", "panic"];

/// Each of them, but for those of failures and middlewares.
pub const ALL: [&str; 11] = [
    CLIENT_CLOSED,
    RESPONSE_CUT,
    NO_ROUTE,
    MISDIRECTED,
    MALFORMED,
    NOT_SPOKEN,
    SLOW_HEAD,
    TARGET_TOO_LONG,
    HEAD_TOO_LARGE,
    INTERNAL,
    REFUSED,
];

#[cfg(test)]
mod tests {
    use super::*;
    use a3s_layers::error::Failure;

    #[test]
    fn the_manual_has_each_of_them() {
        let manual = include_str!("../../docs/operations.md");
        let (_, section) = manual.split_once("### Reasons").unwrap();
        let failures = Failure::ALL.iter().map(|failure| failure.reason());
        for reason in ALL.into_iter().chain(OF_LAYERS).chain(failures) {
            assert!(section.contains(&format!("\n| `{reason}` |")), "{reason}");
        }
    }
}
