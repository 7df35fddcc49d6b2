//! Keeps a peer of HTTP/2 to its work: what it sends beside messages may not be out of proportion.
//!
//! The parser bounds what each frame costs in memory, and many of the ways to abuse it:
//!
//! - `CONTINUATION` frames of a head (CVE-2024-27316), and the size of what a head unpacks to ("HPACK bomb");
//! - streams that are reset before we have seen them, in one batch (CVE-2023-44487), and those that it has to reset
//!   itself (CVE-2025-8671);
//! - empty and tiny `DATA` frames (CVE-2019-9518); answers to `PING` and `SETTINGS` wait for their reader
//!   (CVE-2019-9512, CVE-2019-9515), and it reads no more meanwhile.
//!
//! It does not bound the work. Streams that are opened and reset one after the other cost a request at a server each,
//! and a client may send the frames of control for ever. So we look at the heads of frames on their way, and keep two
//! accounts. Each has a balance that time fills up again; what is out of balance ends the connection, with
//! `ENHANCE_YOUR_CALM`.
//!
//! - **Control**: `SETTINGS`, `PING`, `PRIORITY`, `WINDOW_UPDATE`, empty `DATA` and frames that nobody knows cost one
//!   each. Requests, pieces of bodies, and what we send ourselves earn some. Envoy counts them against the streams
//!   and `DATA` frames in the same way (`max_inbound_priority_frames_per_stream`,
//!   `max_inbound_window_update_frames_per_data_frame_sent`), nginx by bytes (`http2 flood detected`); that time earns
//!   some too is ours, so that a connection that lives for days is not judged by their sum.
//! - **Resets**: to reset a stream that was just opened costs what two opened streams earn, so that a client that lets
//!   half of its requests be is never at fault: Envoy's `premature_reset_total_stream_count` has that share, and the
//!   same 500 to begin with. One that is older than that, as when deadlines pass, is control.
//!
//! A server is held to the same, but that it opens no streams and may reset all of ours. What it can do instead is to
//! begin an answer again and again (1xx): each head costs one, and each of our requests earns some.

use super::frames::{
    CONTINUATION, DATA, END_STREAM, Frame, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE, go_away,
};
use std::io::IoSlice;
use std::time::Duration;
use tokio::time::Instant;

/// The frames of control that a client has to its credit, and in which time it is given them anew.
const CONTROL: u32 = 10_000;
const CONTROL_TIME: Duration = Duration::from_secs(10);

/// What a request, or a frame of an answer, earns: a client may grant a window for each, ask for the time that it
/// took, and sort its priorities.
const EARNED: u32 = 4;

/// The heads that a server has to its credit, what a request earns of them, and in which time they are given anew.
const HEADS: u32 = 1_000;
const HEADS_EARNED: u32 = 16;
const HEADS_TIME: Duration = Duration::from_secs(10);

/// In which time the resets are given anew.
const RESETS_TIME: Duration = Duration::from_secs(30);

/// A stream is no longer new that was opened so long ago: Envoy's `premature_reset_min_stream_lifetime_seconds`.
const NEW: Duration = Duration::from_secs(1);

/// What a reset costs, where an opened stream earns 1.
const RESET: u32 = 2;

/// What a peer has done too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Excess {
    #[error("the peer sends too many frames beside its messages")]
    Control,
    #[error("the client resets too many streams")]
    Resets,
    #[error("the server begins its answers too often")]
    Heads,
}

/// The account of one peer.
#[derive(Debug)]
pub(crate) struct Conduct {
    inbound: Frames,
    outbound: Frames,
    control: Allowance,
    role: Role,
    /// The last stream that the peer has opened.
    last_stream: u32,
}

#[derive(Debug)]
enum Role {
    Client { resets: Allowance, ages: Ages },
    Server { heads: Allowance },
}

impl Conduct {
    /// Of a client that may reset so many streams beyond half of those that it opens.
    pub(crate) fn of_client(max_resets: u32) -> Self {
        let resets = Allowance::new(max_resets.saturating_mul(RESET), RESETS_TIME);
        Self {
            inbound: Frames::of_client(),
            outbound: Frames::default(),
            control: Allowance::new(CONTROL, CONTROL_TIME),
            role: Role::Client {
                resets,
                ages: Ages::new(),
            },
            last_stream: 0,
        }
    }

    /// Of a server.
    pub(crate) fn of_server() -> Self {
        let heads = Allowance::new(HEADS, HEADS_TIME);
        Self {
            inbound: Frames::default(),
            outbound: Frames::of_client(),
            control: Allowance::new(CONTROL, CONTROL_TIME),
            role: Role::Server { heads },
            last_stream: 0,
        }
    }

    /// Looks at what the peer sent; returns whether there was something of a message in it.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<bool, Excess> {
        let mut works = is_work(self.inbound.under_way());
        while let Some((frame, rest)) = self.inbound.next(bytes) {
            bytes = rest;
            works |= self.judge(frame)?;
        }
        Ok(works)
    }

    fn judge(&mut self, frame: Frame) -> Result<bool, Excess> {
        let bear = |is_borne: bool, excess| is_borne.then_some(true).ok_or(excess);
        match (frame.kind, &mut self.role) {
            (HEADERS, Role::Client { resets, .. }) => {
                // What opens no stream ends one.
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    resets.earn(1);
                }
                self.control.earn(EARNED);
                Ok(true)
            }
            (HEADERS, Role::Server { heads }) => {
                self.control.earn(EARNED);
                bear(heads.spend(1), Excess::Heads)
            }
            (RST_STREAM, Role::Client { resets, ages }) => {
                match ages.is_new(frame.stream, self.last_stream) {
                    true => bear(resets.spend(RESET), Excess::Resets),
                    false => bear(self.control.spend(1), Excess::Control),
                }
            }
            (DATA, _) if frame.length > 0 => {
                self.control.earn(1);
                Ok(true)
            }
            (DATA, _) if frame.flags & END_STREAM != 0 => Ok(true),
            (CONTINUATION, _) => Ok(true),
            (kind, _) => {
                let is_borne = self.control.spend(1);
                bear(is_borne, Excess::Control).map(|_| kind == WINDOW_UPDATE)
            }
        }
    }

    /// Looks at what was sent to the peer; returns whether there was something of a message in it.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8]) -> bool {
        let mut works = is_work(self.outbound.under_way());
        while let Some((frame, rest)) = self.outbound.next(bytes) {
            bytes = rest;
            if is_work(Some(frame.kind)) {
                works = true;
                self.control.earn(EARNED);
            }
            if let (HEADERS, Role::Server { heads }) = (frame.kind, &mut self.role) {
                heads.earn(HEADS_EARNED);
            }
        }
        works
    }

    /// Looks at the first bytes of what was to be sent; returns as [`Conduct::wrote`] does.
    pub(crate) fn wrote_of(&mut self, bufs: &[IoSlice<'_>], mut written: usize) -> bool {
        let mut works = false;
        for buf in bufs {
            let part = &buf[..written.min(buf.len())];
            written -= part.len();
            works |= self.wrote(part);
        }
        works
    }

    /// The last word to the client, if one can be said now: not within a frame.
    pub(crate) fn farewell(&self, code: u32) -> Option<[u8; 17]> {
        let is_between = self.outbound.are_whole();
        is_between.then(|| go_away(self.last_stream, code))
    }
}

fn is_work(kind: Option<u8>) -> bool {
    matches!(kind, Some(DATA | HEADERS | CONTINUATION))
}

/// Which streams are new. Their numbers grow: that of the last one at some time tells those before from those after.
/// The clock is looked at where one is reset.
#[derive(Debug)]
struct Ages {
    /// The last stream at a time that is long enough ago.
    old: u32,
    /// The last one at another time.
    recent: u32,
    looked: Instant,
}

impl Ages {
    fn new() -> Self {
        Self {
            old: 0,
            recent: 0,
            looked: Instant::now(),
        }
    }

    /// Whether `stream` was opened within [`NEW`], or not so long before; `last` is the last one now.
    fn is_new(&mut self, stream: u32, last: u32) -> bool {
        let now = Instant::now();
        if now - self.looked >= NEW {
            self.old = self.recent;
            self.recent = last;
            self.looked = now;
        }
        stream > self.old
    }
}

/// What may be spent: so much at once, and so much in some time. No clock is looked at before all is spent.
#[derive(Debug)]
struct Allowance {
    left: u32,
    max: u32,
    time: Duration,
    given: Instant,
}

impl Allowance {
    fn new(max: u32, time: Duration) -> Self {
        Self {
            left: max,
            max,
            time,
            given: Instant::now(),
        }
    }

    fn earn(&mut self, amount: u32) {
        self.left = self.left.saturating_add(amount).min(self.max);
    }

    fn spend(&mut self, amount: u32) -> bool {
        if self.left < amount {
            let now = Instant::now();
            let share = (now - self.given).div_duration_f64(self.time).min(1.0);
            // Rounded down, and no more than `max`, as the share is no more than 1.
            let given = (f64::from(self.max) * share) as u32;
            if given < amount {
                return false;
            }
            self.given = now;
            self.earn(given);
        }
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
