//! As many exchanges as go, one at a time on each connection.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::tally::{Answer, Failure, Tally};

/// How long answers may still take when the time is over.
const GRACE: Duration = Duration::from_secs(5);

pub trait Client {
    /// Asks, and reads and checks the whole answer.
    async fn exchange(&mut self) -> Result<Answer, Failure>;
}

/// Runs on a `LocalSet`.
pub async fn run<C: Client + 'static>(clients: Vec<C>, window: Duration) -> Tally {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn_local(repeat(client, start + window));
    }
    let mut tally = Tally::default();
    for part in tasks.join_all().await {
        tally.add(part);
    }
    tally.elapsed = start.elapsed();
    tally
}

async fn repeat(mut client: impl Client, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let exchanges = async {
        loop {
            let began = Instant::now();
            if began >= end {
                break;
            }
            match client.exchange().await {
                Ok(answer) => tally.answered(&answer, began.elapsed()),
                Err(Failure::Lost) => tally.failed(Failure::Lost),
                // A connection that went wrong stays away: a new one would hide that.
                Err(failure) => {
                    tally.failed(failure);
                    break;
                }
            }
        }
    };
    if timeout_at((end + GRACE).into(), exchanges).await.is_err() {
        tally.failed(Failure::Broken("no answer".to_owned()));
    }
    tally
}
