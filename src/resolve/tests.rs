//! Looking up and following, in a time that stands still.

use super::name::Part;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{Instant, sleep};

const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Answers the n-th question with 10.0.0.n, good for so many seconds; a name of digits takes so many milliseconds, and
/// any other one for ever.
struct Script {
    ttl: u64,
    asked: AtomicUsize,
    at: Mutex<Vec<Instant>>,
}

impl Script {
    fn new(ttl: u64) -> Arc<Self> {
        Arc::new(Self {
            ttl,
            asked: AtomicUsize::new(0),
            at: Mutex::default(),
        })
    }
}

impl Ask for Script {
    async fn ask(&self, name: &str) -> Reply {
        self.at.lock().unwrap().push(Instant::now());
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        match name.parse() {
            Ok(millis) => sleep(Duration::from_millis(millis)).await,
            Err(_) => std::future::pending().await,
        }
        Reply {
            v4: Part::Found(vec![[10, 0, 0, number as u8].into()]),
            v6: Part::Found(Vec::new()),
            ttl: Duration::from_secs(self.ttl),
        }
    }
}

fn new(host: &str) -> Name {
    Name::new(host.into(), [].into())
}

#[tokio::test(start_paused = true)]
async fn a_configuration_waits_for_all_names_at_once_and_not_for_ever() {
    for (hosts, millis) in [
        (&["10", "500", "200"][..], 500),
        (&["10", "2900", "never", "4000"], 3_000),
        (&[], 0),
    ] {
        let mut names: Vec<_> = hosts.iter().map(|host| new(host)).collect();
        let start = Instant::now();
        look_up(&Script::new(9), &mut names, BOUNDS).await;
        let took = start.elapsed();
        let (least, most) = (millis, millis + 2);
        let most = Duration::from_millis(most);
        assert!(
            (Duration::from_millis(least)..=most).contains(&took),
            "{took:?}"
        );
        for name in names {
            let in_time = name
                .host()
                .parse::<u64>()
                .is_ok_and(|millis| millis < 3_000);
            assert_eq!(name.is_asked(), in_time);
            assert_eq!(name.addresses().len(), usize::from(in_time));
            // Those that are late are asked for again at once.
            assert_eq!(name.wait().is_zero(), !in_time);
        }
    }
}

/// A follower, and what it was told.
fn follower() -> (Follower, Arc<Mutex<Vec<Vec<IpAddr>>>>) {
    let told = Arc::<Mutex<Vec<_>>>::default();
    let telling = Arc::clone(&told);
    let follower = Follower {
        name: "5".into(),
        tell: Arc::new(move |addresses: &[IpAddr]| {
            telling.lock().unwrap().push(addresses.to_vec())
        }),
    };
    (follower, told)
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_when_its_answer_has_run_out_and_each_change_is_told() {
    let script = Script::new(60);
    let mut name = new("5");
    look_up(&script, std::slice::from_mut(&mut name), BOUNDS).await;
    let followed = Followed::new(name, Arc::clone(&script), BOUNDS);
    let (first, told) = follower();
    followed.lead(vec![first]);
    let address = |n: u8| vec![IpAddr::from([10, 0, 0, n])];
    assert_eq!(*told.lock().unwrap(), [address(1)]);
    sleep(Duration::from_secs(3_600)).await;
    let at = script.at.lock().unwrap().clone();
    for pair in at.windows(2) {
        let after = (pair[1] - pair[0]).as_secs_f64();
        assert!((60.0..=66.1).contains(&after), "{after}");
    }
    let asked = at.len();
    assert!((54..=61).contains(&asked), "{asked}");
    let expected: Vec<_> = (1..=asked as u8).map(address).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    // Another one takes over, and is told what there is to know.
    let (second, news) = follower();
    followed.lead(vec![second]);
    assert_eq!(*news.lock().unwrap(), [address(asked as u8)]);
    while news.lock().unwrap().len() < 2 {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(told.lock().unwrap().len(), asked);
    // With its place, it ends.
    drop(followed);
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(script.at.lock().unwrap().len(), asked + 1);
    assert_eq!(Arc::strong_count(&script), 1);
}
