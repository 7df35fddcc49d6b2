//! Happy Eyeballs, version 2 (RFC 8305): where a server has several addresses, a connection to each is tried, the next
//! one a moment after the last, and the first that is there is taken.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// From one attempt to the next, as long as none has failed (RFC 8305, 5: the "Connection Attempt Delay").
const DELAY: Duration = Duration::from_millis(250);

/// The most addresses that are tried.
const MAX_ATTEMPTS: usize = 16;

/// Connects to the first of `addresses` that can be reached. The next one is tried after [`DELAY`], or at once where
/// an attempt has failed; those under way go on. Fails with the last error.
pub(super) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter().take(MAX_ATTEMPTS).peekable();
    let mut attempts: Vec<Pin<Box<F>>> = Vec::new();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut delay = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let (before, mut won) = (attempts.len(), None);
            attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(connection)) => {
                    won = Some(connection);
                    false
                }
                Poll::Ready(Err(failed)) => {
                    error = failed;
                    false
                }
            });
            if let Some(connection) = won {
                return Poll::Ready(Ok(connection));
            }
            let has_failed = attempts.len() < before;
            if waiting.peek().is_none() && attempts.is_empty() {
                let none = io::Error::from(io::ErrorKind::NotFound);
                return Poll::Ready(Err(std::mem::replace(&mut error, none)));
            }
            let is_due = has_failed || attempts.is_empty();
            if waiting.peek().is_none() || !(is_due || delay.as_mut().poll(cx).is_ready()) {
                return Poll::Pending;
            }
            attempts.extend(waiting.next().map(|address| Box::pin(connect(address))));
            delay.as_mut().reset(Instant::now() + DELAY);
        }
    })
    .await
}

/// The addresses in the order in which they are tried: families by turns, beginning with that of the first one
/// (RFC 8305, 4).
pub(super) fn by_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for address in addresses.take(MAX_ATTEMPTS) {
        let leader = first.first().unwrap_or(&address);
        match leader.is_ipv4() == address.is_ipv4() {
            true => first.push(address),
            false => second.push(address),
        }
    }
    let mut order = Vec::with_capacity(first.len() + second.len());
    let mut turns = (first.into_iter(), second.into_iter());
    loop {
        let turn = [turns.0.next(), turns.1.next()];
        if turn == [None, None] {
            return order;
        }
        order.extend(turn.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|n| ([10, 0, 0, n], 80).into()).collect()
    }

    /// What each address does, by its last number: after so many milliseconds it is there, or refuses. Returns who
    /// won, when, and when each was begun.
    async fn run(plan: &[(u64, bool)]) -> (Option<usize>, u64, Vec<u64>) {
        let start = Instant::now();
        let millis = move || start.elapsed().as_millis() as u64;
        let begun = Mutex::new(Vec::new());
        let won = race(addresses(plan.len() as u8), |address| {
            begun.lock().unwrap().push(millis());
            let SocketAddr::V4(v4) = address else {
                unreachable!()
            };
            let index = usize::from(v4.ip().octets()[3]) - 1;
            let (after, is_there) = plan[index];
            async move {
                sleep(Duration::from_millis(after)).await;
                match is_there {
                    true => Ok(index),
                    false => Err(io::ErrorKind::ConnectionRefused.into()),
                }
            }
        });
        let won = won.await;
        if let Err(error) = &won
            && !plan.is_empty()
        {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        (won.ok(), millis(), begun.into_inner().unwrap())
    }

    const NEVER: (u64, bool) = (1 << 40, true);

    #[tokio::test(start_paused = true)]
    async fn the_next_is_tried_a_moment_later_or_at_once_where_one_fails() {
        for (plan, winner, after, begun) in [
            // The first is quick: nobody else is bothered.
            (&[(5, true), (5, true)][..], Some(0), 5, &[0][..]),
            (&[(300, true), (5, true)], Some(1), 255, &[0, 250]),
            // Who was begun first may still win.
            (&[(260, true), (90, true)], Some(0), 260, &[0, 250]),
            (&[(0, false), (5, true)], Some(1), 5, &[0, 0]),
            (&[(7, false), (5, true)], Some(1), 12, &[0, 7]),
            (&[NEVER, (5, true)], Some(1), 255, &[0, 250]),
            (&[NEVER, NEVER, (9, true)], Some(2), 509, &[0, 250, 500]),
            // A failure hurries the next, and that one has its own moment.
            (
                &[NEVER, (10, false), NEVER, (1, true)],
                Some(3),
                511,
                &[0, 250, 260, 510],
            ),
            (&[(1, false), (2, false)], None, 3, &[0, 1]),
            (&[], None, 0, &[]),
        ] {
            assert_eq!(run(plan).await, (winner, after, begun.to_vec()), "{plan:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_tried() {
        let plan = vec![(1, false); 100];
        let (won, _, begun) = run(&plan).await;
        assert_eq!((won, begun.len()), (None, MAX_ATTEMPTS));
    }

    #[test]
    fn families_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"];
        let all = all.map(|address| address.parse::<SocketAddr>().unwrap());
        let order = by_turns(all.into_iter());
        assert_eq!(order, [all[0], all[3], all[1], all[4], all[2]]);
        let order = by_turns(all.into_iter().rev());
        assert_eq!(order, [all[4], all[2], all[3], all[1], all[0]]);
        assert!(by_turns(std::iter::empty()).is_empty());
    }
}
