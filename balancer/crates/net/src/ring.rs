//! Bounded rings between threads: a worker to its siblings, a worker up to Python. Nobody ever waits at one; what does
//! not fit is the caller's to count.
//!
//! `std`'s bounded channel is such a ring (an array, no lock, nothing allocated per entry); this adds the wake-up, once
//! per batch instead of once per entry.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::sys::EventFd;

/// One producer's end; each producer has a clone of its own.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    sender: SyncSender<T>,
    wake: Arc<EventFd>,
    unannounced: Cell<bool>,
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wake: Arc::clone(&self.wake), unannounced: Cell::new(false) }
    }
}

/// A ring of so many entries, whose consumer sleeps on `wake`.
pub(crate) fn ring<T>(entries: usize, wake: Arc<EventFd>) -> (Producer<T>, Receiver<T>) {
    let (sender, receiver) = sync_channel(entries);
    (Producer { sender, wake, unannounced: Cell::new(false) }, receiver)
}

impl<T> Producer<T> {
    /// Put an entry in; false when the ring is full (or its consumer gone) and the entry dropped.
    #[must_use]
    pub(crate) fn offer(&self, entry: T) -> bool {
        let taken = self.sender.try_send(entry).is_ok();
        self.unannounced.set(self.unannounced.get() || taken);
        taken
    }

    /// Wake the consumer if something was put in since the last time.
    pub(crate) fn announce(&self) {
        if self.unannounced.take() {
            self.wake.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Epoll, Ready};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn a_full_ring_drops_and_says_so() {
        let (producer, consumer) = ring(2, Arc::new(EventFd::new().unwrap()));
        assert!(producer.offer(1) && producer.offer(2));
        assert!(!producer.offer(3));
        assert_eq!(consumer.try_iter().collect::<Vec<_>>(), [1, 2]);
        assert!(producer.offer(4));
    }

    #[test]
    fn the_consumer_is_woken_once_per_batch_and_only_for_something() {
        let wake = Arc::new(EventFd::new().unwrap());
        let epoll = Epoll::new().unwrap();
        epoll.add(wake.as_raw_fd(), 0).unwrap();
        let (producer, _consumer) = ring(8, Arc::clone(&wake));
        let mut ready = Vec::new();
        let mut woken = |timeout| {
            epoll.wait(Some(timeout), &mut ready).unwrap();
            ready == [Ready { token: 0, readable: true, writable: false, error: false }]
        };
        producer.announce();
        assert!(!woken(Duration::ZERO));
        assert!(producer.offer(1) && producer.offer(2));
        assert!(!woken(Duration::ZERO));
        producer.announce();
        assert!(woken(Duration::from_secs(5)));
        wake.drain();
        producer.announce();
        assert!(!woken(Duration::ZERO));
    }

    /// Stress: several producers, one consumer that sleeps between wake-ups. Everything taken arrives once and in each
    /// producer's order, and no wake-up is missed (or this never ends).
    #[test]
    fn nothing_is_lost_doubled_or_left_asleep() {
        const EACH: u64 = 20_000;
        const PRODUCERS: u64 = 3;
        let wake = Arc::new(EventFd::new().unwrap());
        let (producer, consumer) = ring(64, Arc::clone(&wake));
        std::thread::scope(|scope| {
            for number in 0..PRODUCERS {
                let producer = producer.clone();
                scope.spawn(move || {
                    for value in 0..EACH {
                        while !producer.offer((number, value)) {
                            producer.announce();
                            std::thread::yield_now();
                        }
                        if value % 7 == 0 {
                            producer.announce();
                        }
                    }
                    producer.announce();
                });
            }
            let epoll = Epoll::new().unwrap();
            epoll.add(wake.as_raw_fd(), 0).unwrap();
            let (mut ready, mut next) = (Vec::new(), [0; 3]);
            while next.iter().sum::<u64>() < PRODUCERS * EACH {
                epoll.wait(Some(Duration::from_secs(20)), &mut ready).unwrap();
                assert!(!ready.is_empty(), "asleep with {next:?} of {EACH} each");
                wake.drain();
                for (number, value) in consumer.try_iter() {
                    let next = &mut next[usize::try_from(number).unwrap()];
                    assert_eq!(value, *next);
                    *next += 1;
                }
            }
            assert_eq!(next, [EACH; 3]);
        });
    }
}
