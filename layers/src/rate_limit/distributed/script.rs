//! The script that counts: how it is run, and what its answer says.
//!
//! redis' own `Script` panics where a server says that it has loaded something else than it was given.

use crate::rate_limit::limit::Limit;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use sha1::{Digest, Sha1};
use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

const GCRA: &str = include_str!("gcra.lua");

/// What a server calls the script once it has seen it.
static GCRA_SHA1: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha1::digest(GCRA);
    hash.iter().fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
});

/// One request to be counted.
pub(super) struct Count<'a> {
    pub(super) key: &'a [u8],
    pub(super) limit: Limit,
}

/// How many requests are left, or how long to wait for one.
pub(super) type Verdict = Result<u32, Duration>;

impl Count<'_> {
    /// Asks a server, and gives it the script where it has none.
    pub(super) async fn ask(
        &self,
        server: &mut MultiplexedConnection,
    ) -> Result<Value, RedisError> {
        let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
        match self
            .command("EVALSHA", &GCRA_SHA1)
            .query_async(server)
            .await
        {
            Err(error) if error.kind() == no_script => {
                self.command("EVAL", GCRA).query_async(server).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.key);
        command.arg(self.limit.interval().as_nanos() as f64 / 1000.0);
        command.arg(self.limit.burst());
        command
    }

    /// What an answer says, within what the limit can mean; `None` where it is no answer of the script's.
    pub(super) fn verdict(&self, answer: &Value) -> Option<Verdict> {
        let Value::Array(numbers) = answer else {
            return None;
        };
        let [
            Value::Int(may_pass),
            Value::Int(remaining),
            Value::Int(wait),
        ] = numbers[..]
        else {
            return None;
        };
        let remaining = u64::try_from(remaining).ok()?;
        let wait = Duration::from_micros(u64::try_from(wait).ok()?);
        let burst = self.limit.burst();
        match may_pass {
            0 => Some(Err(wait.min(self.limit.time_for(burst)))),
            1 => Some(Ok(
                u32::try_from(remaining).map_or(burst, |left| left.min(burst))
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_answer_means_no_more_than_the_limit_can() {
        let limit = Limit::new(10.0, HOUR).expect("a limit");
        let count = Count { key: b"k", limit };
        let said = |numbers: &[i64]| {
            let numbers = numbers.iter().copied().map(Value::Int).collect();
            count.verdict(&Value::Array(numbers))
        };
        for (numbers, verdict) in [
            ([1, 9, 0], Ok(9)),
            ([1, 0, 0], Ok(0)),
            ([1, 99_999_999_999, 0], Ok(10)),
            ([1, i64::MAX, i64::MAX], Ok(10)),
            ([0, 0, 1_500_000], Err(Duration::from_millis(1500))),
            ([0, 0, 0], Err(Duration::ZERO)),
            ([0, 0, i64::MAX], Err(HOUR)),
        ] {
            assert_eq!(said(&numbers), Some(verdict), "{numbers:?}");
        }
        for numbers in [
            &[1, -5, 0][..],
            &[0, 0, -1],
            &[1, 1, i64::MIN],
            &[2, 1, 0],
            &[-1, 1, 0],
            &[],
            &[1],
            &[1, 9],
            &[1, 9, 0, 0],
        ] {
            assert_eq!(said(numbers), None, "{numbers:?}");
        }
    }

    #[test]
    fn an_answer_of_another_type_says_nothing() {
        let limit = Limit::new(10.0, HOUR).expect("a limit");
        let count = Count { key: b"k", limit };
        let one = || Value::Int(1);
        for answer in [
            Value::Okay,
            Value::Nil,
            Value::Int(1),
            Value::BulkString(b"1".to_vec()),
            Value::Set(vec![one(), one(), one()]),
            Value::Array(vec![one(), Value::BulkString(b"1".to_vec()), one()]),
            Value::Array(vec![Value::Boolean(true), one(), one()]),
            Value::Array(vec![one(), one(), Value::Double(f64::INFINITY)]),
            Value::Array(vec![Value::Array(vec![one(), one(), one()])]),
        ] {
            assert_eq!(count.verdict(&answer), None, "{answer:?}");
        }
    }
}
