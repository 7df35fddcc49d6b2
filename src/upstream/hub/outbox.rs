//! What waits for one client: messages of its channels, and the word that it was dropped from one.

use super::channel::Channel;
use super::lock;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// One client's queue. Publishers put in, its connection takes out.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Waiting>,
    /// Bytes of the messages in the queue.
    bytes: usize,
    /// What the connection is subscribed to, or has to be told that it is not.
    slots: Slab<Slot>,
    names: HashMap<Arc<str>, usize>,
    /// The connection waits for something to write.
    waker: Option<Waker>,
    /// The client takes nothing more for now.
    is_stuck: bool,
    /// Publishers who wait until the connection has had its turn.
    publishers: Vec<Waker>,
}

#[derive(Debug)]
struct Waiting {
    slot: usize,
    frame: Utf8Bytes,
    is_message: bool,
}

/// A channel as one connection knows it.
#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    /// While it is subscribed: the channel, and its key there.
    at: Option<(Arc<Channel>, usize)>,
    /// Messages in the queue.
    waiting: usize,
    /// The word that it was dropped is in the queue.
    is_untold: bool,
}

/// When a subscriber has too much waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// Messages of one channel.
    pub(super) messages: usize,
    /// Bytes of all channels, where they are scarce. One message may wait in any case.
    pub(super) bytes: Option<usize>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits to be written.
    Waits,
    /// It does, behind many others that the connection has had no turn to write. That is not the client's fault: who
    /// publishes is to wait for it.
    Behind,
    /// The client does not take what waited before it: the connection is dropped from the channel.
    Dropped,
}

impl Outbox {
    /// Whether one more channel, or one that is known already, is within `max`.
    pub(super) fn has_room(&self, name: &str, max: usize) -> bool {
        let inner = lock(&self.0);
        inner.slots.len() < max || inner.names.contains_key(name)
    }

    /// Notes that it is subscribed to `channel`, under `key`. Returns what the channel is to it; none where it was
    /// subscribed before.
    pub(super) fn join(&self, channel: &Arc<Channel>, key: usize) -> Option<usize> {
        let mut inner = lock(&self.0);
        let at = Some((Arc::clone(channel), key));
        if let Some(&known) = inner.names.get(&channel.name) {
            let slot = &mut inner.slots[known];
            if slot.at.is_some() {
                return None;
            }
            slot.at = at;
            return Some(known);
        }
        let slot = inner.slots.insert(Slot {
            name: Arc::clone(&channel.name),
            at,
            waiting: 0,
            is_untold: false,
        });
        inner.names.insert(Arc::clone(&channel.name), slot);
        Some(slot)
    }

    /// The channel of this name, if it is subscribed to it.
    pub(super) fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        let inner = lock(&self.0);
        let slot = &inner.slots[*inner.names.get(name)?];
        slot.at.as_ref().map(|(channel, _)| Arc::clone(channel))
    }

    /// All channels that it is subscribed to.
    pub(super) fn channels(&self) -> Vec<Arc<Channel>> {
        let inner = lock(&self.0);
        let slots = inner.slots.iter();
        let at = slots.filter_map(|(_, slot)| slot.at.as_ref());
        at.map(|(channel, _)| Arc::clone(channel)).collect()
    }

    /// Ends a subscription. Returns its key at the channel; none where it has ended already.
    pub(super) fn leave(&self, name: &str) -> Option<usize> {
        let mut inner = lock(&self.0);
        let slot = *inner.names.get(name)?;
        let (_, key) = inner.slots[slot].at.take()?;
        inner.forget_if_over(slot);
        Some(key)
    }

    /// Takes out what waits of a channel.
    pub(super) fn discard(&self, name: &str) {
        let mut inner = lock(&self.0);
        if let Some(&slot) = inner.names.get(name) {
            inner.discard(slot);
            inner.forget_if_over(slot);
            release(inner);
        }
    }

    /// Puts a message in, or ends the subscription where the client does not take what waits already.
    pub(super) fn push(&self, slot: usize, message: &Utf8Bytes, full: &Full) -> Pushed {
        let mut inner = lock(&self.0);
        let waiting = inner.slots[slot].waiting;
        let has_too_much =
            (full.bytes).is_some_and(|max| inner.bytes > 0 && inner.bytes + message.len() > max);
        let pushed = if inner.is_stuck && (has_too_much || waiting >= full.messages) {
            inner.drop_from(slot);
            Pushed::Dropped
        } else {
            inner.slots[slot].waiting += 1;
            inner.bytes += message.len();
            inner.queue.push_back(Waiting {
                slot,
                frame: message.clone(),
                is_message: true,
            });
            match !inner.is_stuck && (has_too_much || waiting >= full.messages / 2) {
                true => Pushed::Behind,
                false => Pushed::Waits,
            }
        };
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        pushed
    }

    /// What is to be written next, and whether it is a message.
    pub(super) fn pop(&self) -> Option<(Utf8Bytes, bool)> {
        let mut inner = lock(&self.0);
        let next = inner.queue.pop_front()?;
        let slot = &mut inner.slots[next.slot];
        if next.is_message {
            slot.waiting -= 1;
            inner.bytes -= next.frame.len();
        } else {
            slot.is_untold = false;
        }
        inner.forget_if_over(next.slot);
        inner.give_back_room();
        release(inner);
        Some((next.frame, next.is_message))
    }

    /// Wakes the task when there is something to write. True where there is already.
    pub(super) fn wake_when_filled(&self, cx: &Context<'_>) -> bool {
        let mut inner = lock(&self.0);
        if !inner.queue.is_empty() {
            return true;
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        false
    }

    /// Notes whether the client takes what is written.
    pub(super) fn set_stuck(&self, is_stuck: bool) {
        let mut inner = lock(&self.0);
        inner.is_stuck = is_stuck;
        release(inner);
    }

    /// Whether the connection has yet to have its turn. The task of who publishes is woken when it has had.
    pub(super) fn is_behind(&self, cx: &Context<'_>) -> bool {
        let mut inner = lock(&self.0);
        let is_behind = inner.is_behind();
        let mut publishers = inner.publishers.iter();
        if is_behind && !publishers.any(|waker| waker.will_wake(cx.waker())) {
            inner.publishers.push(cx.waker().clone());
        }
        is_behind
    }

    /// Gives up what waits. There must be no subscription any more.
    pub(super) fn clear(&self) {
        let mut inner = lock(&self.0);
        let publishers = std::mem::take(&mut inner.publishers);
        *inner = Inner {
            publishers,
            ..Inner::default()
        };
        release(inner);
    }
}

/// Lets go of the lock, and then calls those who have waited for the connection, if they need not any more.
fn release(mut inner: MutexGuard<'_, Inner>) {
    let publishers = match inner.is_behind() {
        true => Vec::new(),
        false => std::mem::take(&mut inner.publishers),
    };
    drop(inner);
    publishers.into_iter().for_each(Waker::wake);
}

/// A queue with room for more than so many gives it back when it is empty.
const ROOMY: usize = 256;

impl Inner {
    /// Takes out what waits of a channel.
    fn discard(&mut self, slot: usize) {
        if std::mem::take(&mut self.slots[slot].waiting) == 0 {
            return;
        }
        let mut freed = 0;
        self.queue.retain(|waiting| {
            let stays = waiting.slot != slot || !waiting.is_message;
            if !stays {
                freed += waiting.frame.len();
            }
            stays
        });
        self.bytes -= freed;
        self.give_back_room();
    }

    /// Ends a subscription, and has its client told. Where the word of an earlier time still waits, that does: nothing
    /// of the channel stands after it.
    fn drop_from(&mut self, slot: usize) {
        self.discard(slot);
        let Slot {
            name,
            at,
            is_untold,
            ..
        } = &mut self.slots[slot];
        *at = None;
        if !std::mem::replace(is_untold, true) {
            let frame = format!("_dropped:{name}").into();
            self.queue.push_back(Waiting {
                slot,
                frame,
                is_message: false,
            });
        }
    }

    /// What is not subscribed, and of which nothing waits, is nothing any more.
    fn forget_if_over(&mut self, slot: usize) {
        let Slot {
            name,
            at,
            waiting,
            is_untold,
        } = &self.slots[slot];
        if at.is_none() && *waiting == 0 && !is_untold {
            self.names.remove(name);
            self.slots.remove(slot);
        }
    }

    fn is_behind(&self) -> bool {
        !self.is_stuck && !self.queue.is_empty()
    }

    fn give_back_room(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > ROOMY {
            self.queue = VecDeque::new();
        }
    }
}
