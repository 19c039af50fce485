//! What waits to be written to a connection.

use std::collections::VecDeque;
use std::io;

use super::buffers::Spares;
use crate::sys::TcpStream;

/// Bytes that may wait: a peer that takes nothing for so long is not worth more.
const MOST: usize = 256 << 10;
/// Bytes written already that are worth being moved away.
const WORTH_MOVING: usize = 64 << 10;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) worker: u8,
    /// It asked for this connection, not for any to that peer.
    pub(crate) by_id: bool,
}

#[derive(Debug)]
struct Mark {
    end: usize,
    /// `None`: an answer to a ping, which nobody misses.
    sender: Option<Sender>,
}

/// Messages in order, the first of them possibly written in part.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    /// Where the first message that is not out whole begins.
    first: usize,
    written: usize,
    marks: VecDeque<Mark>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether the last thing to be written is the answer to a ping.
    pub(crate) fn ends_with_pong(&self) -> bool {
        self.marks.back().is_some_and(|mark| mark.sender.is_none())
    }

    /// Put a message behind the others; false when there is no room.
    #[must_use]
    pub(crate) fn push(&mut self, bytes: &[u8], sender: Option<Sender>, spares: &mut Spares) -> bool {
        if self.bytes.len() - self.written + bytes.len() > MOST {
            return false;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spares.take_queue();
        }
        self.bytes.extend_from_slice(bytes);
        self.marks.push_back(Mark { end: self.bytes.len(), sender });
        true
    }

    /// Write as much as the kernel takes: bytes, and messages that are now out whole.
    pub(crate) fn write(&mut self, stream: &TcpStream, spares: &mut Spares) -> io::Result<(u64, u64)> {
        let (mut bytes, mut messages) = (0, 0);
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let Some(count) = stream.write(rest)? else { break };
            self.written += count;
            bytes += count as u64;
            while let Some(mark) = self.marks.front().filter(|mark| mark.end <= self.written) {
                messages += u64::from(mark.sender.is_some());
                self.first = mark.end;
                self.marks.pop_front();
            }
        }
        if self.marks.is_empty() {
            self.clear(spares);
        } else if self.first > WORTH_MOVING {
            self.bytes.drain(..self.first);
            self.written -= self.first;
            self.marks.iter_mut().for_each(|mark| mark.end -= self.first);
            self.first = 0;
        }
        Ok((bytes, messages))
    }

    /// Empty it: each message that was not written whole, with its sender.
    pub(crate) fn unwritten(&mut self, spares: &mut Spares, mut tell: impl FnMut(Sender, &[u8])) {
        for mark in self.marks.drain(..) {
            let message = self.bytes.get(self.first..mark.end).unwrap_or_default();
            self.first = mark.end;
            if let Some(sender) = mark.sender {
                tell(sender, message);
            }
        }
        self.clear(spares);
    }

    #[cfg(test)]
    pub(crate) fn holds(&self) -> usize {
        self.bytes.capacity()
    }

    fn clear(&mut self, spares: &mut Spares) {
        spares.give_queue(std::mem::take(&mut self.bytes));
        (self.first, self.written) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::TcpAcceptor;
    use std::io::Read as _;
    use std::time::Duration;

    const ME: Sender = Sender { worker: 0, by_id: false };

    /// A connection of ours and its other end.
    fn pair() -> (TcpStream, std::net::TcpStream) {
        let acceptor = TcpAcceptor::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let client = std::net::TcpStream::connect(acceptor.local()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        loop {
            if let Some((stream, _)) = acceptor.accept().unwrap() {
                return (stream, client);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_peer_that_reads_nothing_fills_it_and_what_is_not_out_whole_is_told() {
        let (stream, mut client) = pair();
        let (mut queue, mut spares) = (Queue::default(), Spares::default());
        let message = |number: u8| vec![number; 60_000];
        let (mut pushed, mut sent) = (0_u8, 0);
        // The kernel's buffers fill first, then ours.
        while queue.push(&message(pushed), Some(ME), &mut spares) {
            pushed += 1;
            sent += queue.write(&stream, &mut spares).unwrap().1;
        }
        assert!(queue.push(b"\r\n", None, &mut spares), "what is small still fits");
        assert!(queue.bytes.len() <= 2 * MOST, "what is out is moved away: {}", queue.bytes.len());
        let mut left = Vec::new();
        queue.unwritten(&mut spares, |sender, bytes| {
            assert_eq!(sender, ME);
            left.push(bytes.to_vec());
        });
        assert!(queue.is_empty() && left.len() >= 4);
        assert_eq!(left, (u8::try_from(sent).unwrap()..pushed).map(message).collect::<Vec<_>>());
        drop(stream);
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got.chunks(60_000).take(usize::try_from(sent).unwrap()).zip(0..).all(|(chunk, n)| chunk == message(n)));
    }

    #[test]
    fn what_is_written_goes_out_in_order_and_leaves_no_buffer_behind() {
        let (stream, mut client) = pair();
        let (mut queue, mut spares) = (Queue::default(), Spares::default());
        assert!(queue.push(b"one", Some(ME), &mut spares) && queue.push(b"\r\n", None, &mut spares));
        assert!(queue.push(b"two", Some(ME), &mut spares));
        assert_eq!(queue.write(&stream, &mut spares).unwrap(), (8, 2));
        assert_eq!((queue.is_empty(), queue.bytes.capacity()), (true, 0));
        let mut got = [0; 8];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"one\r\ntwo");
    }
}
