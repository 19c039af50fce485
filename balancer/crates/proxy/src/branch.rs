//! The branch parameter of the Via header fields we write (RFC 3261 §8.1.1.7).
//!
//! A branch names its transaction: worker, slab slot and generation stand in it, so a response finds its transaction
//! without a table. A random id of this run of the process and a keyed tag stand in it too, so a response of an earlier
//! life, of another replica or out of thin air finds nothing. It also carries the loop hash of RFC 5393 §4.2.
//!
//! Case does not matter in a branch (RFC 3261 §7.3.1), so the alphabet is base32 and is read in either case. Everything
//! has one fixed length. This module knows no message and no transaction: bytes in, numbers out.

use siphasher::sip::{SipHasher13, SipHasher24};
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};
use std::hash::Hasher;

/// What every RFC 3261 branch begins with.
pub const MAGIC_COOKIE: &[u8; 7] = b"z9hG4bK";

/// Length in bytes of every branch minted by [`Branches::mint`].
pub const BRANCH_LEN: usize = MAGIC_COOKIE.len() + RAW_LEN / 5 * 8;

/// Length in bytes of every branch made by [`stateless`].
pub const STATELESS_LEN: usize = MAGIC_COOKIE.len() + STATELESS_RAW_LEN / 5 * 8;

const FORMAT: u8 = 1;
const STATELESS_FORMAT: u8 = 0x80;
const TAG_LEN: usize = 6;
const LOOP_LEN: usize = 5;
// format, worker, slot, generation, run, loop hash, tag
const RAW_LEN: usize = 1 + 1 + 4 + 4 + 4 + LOOP_LEN + TAG_LEN;
const STATELESS_RAW_LEN: usize = 20;

/// What tells a spiral from a loop: a hash over what routing depends on (RFC 5393 §4.2.1), 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct LoopHash(u64);

/// The transaction a branch stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Slab slot of the client transaction.
    pub slot: u32,
    /// Generation of that slot.
    pub generation: u32,
}

/// Whose transaction a branch names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A transaction of this worker, in this run.
    Mine(Transaction),
    /// A transaction of a sibling in this process, in this run.
    OtherWorker(u8),
    /// Not minted by this run of this process: an earlier life, another replica, another element, or garbage.
    Foreign,
}

/// Mints and reads the branches of one worker.
///
/// Workers of one process share `run` and `key`, both random at start, and differ in `worker`.
#[derive(Clone)]
pub struct Branches {
    worker: u8,
    run: u64,
    key: [u8; 16],
}

impl std::fmt::Debug for Branches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branches").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Branches {
    /// `run` and `key` are random per run of the process and the same in all its workers.
    pub fn new(worker: u8, run: u64, key: [u8; 16]) -> Self {
        Self { worker, run, key }
    }

    /// The branch of `transaction`. Equal arguments give equal branches, so a CANCEL or an ACK for a non-2xx can be
    /// given the branch of its INVITE (RFC 3261 §9.1, §17.1.1.3) without storing it.
    pub fn mint(&self, transaction: Transaction, loop_hash: LoopHash) -> [u8; BRANCH_LEN] {
        let mut raw = [0; RAW_LEN];
        raw[0] = FORMAT;
        raw[1] = self.worker;
        raw[2..6].copy_from_slice(&transaction.slot.to_be_bytes());
        raw[6..10].copy_from_slice(&transaction.generation.to_be_bytes());
        raw[10..14].copy_from_slice(&self.run_prefix());
        raw[14..19].copy_from_slice(&loop_hash.0.to_be_bytes()[8 - LOOP_LEN..]);
        let tag = self.tag(&raw);
        raw[19..].copy_from_slice(&tag);
        let mut text = [0; BRANCH_LEN];
        encode(&raw, &mut text);
        text
    }

    /// Whose transaction the branch parameter value `branch` names. Never panics; the tag is compared in constant time.
    pub fn owner(&self, branch: &[u8]) -> Owner {
        match self.read(branch) {
            Some(raw) if raw[1] == self.worker => Owner::Mine(Transaction {
                slot: u32::from_be_bytes([raw[2], raw[3], raw[4], raw[5]]),
                generation: u32::from_be_bytes([raw[6], raw[7], raw[8], raw[9]]),
            }),
            Some(raw) => Owner::OtherWorker(raw[1]),
            None => Owner::Foreign,
        }
    }

    /// The loop hash a branch of this run carries, whichever worker minted it: a request that comes back with the hash it
    /// left with is in a loop, with another one in a spiral (RFC 5393 §4.2.1). `None` for a branch that is not ours.
    pub fn loop_hash_of(&self, branch: &[u8]) -> Option<LoopHash> {
        let raw = self.read(branch)?;
        Some(LoopHash(u64::from_be_bytes([0, 0, 0, raw[14], raw[15], raw[16], raw[17], raw[18]])))
    }

    /// Hash over what routing depends on, in this order: Request-URI, From tag, To tag, Call-ID, `CSeq` number, Route
    /// values, Proxy-Require and Proxy-Authorization values (RFC 3261 §16.6 step 8, RFC 5393 §4.2.1). Parts may be
    /// empty; lengths are hashed with them, so moving a byte from one part to the next gives another hash.
    pub fn loop_hash<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> LoopHash {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(b'L');
        for part in parts {
            write_part(&mut hasher, part);
        }
        LoopHash(hasher.finish() >> (8 * (8 - LOOP_LEN)))
    }

    fn read(&self, branch: &[u8]) -> Option<[u8; RAW_LEN]> {
        let branch: &[u8; BRANCH_LEN] = branch.try_into().ok()?;
        if !branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE) {
            return None;
        }
        let mut raw = [0; RAW_LEN];
        let digits_are_valid = decode(&branch[MAGIC_COOKIE.len()..], &mut raw);
        let differences = raw[19..].iter().zip(self.tag(&raw)).fold(0, |sum, (found, wanted)| sum | (found ^ wanted));
        let authentic = differences == 0 && digits_are_valid;
        (authentic && raw[0] == FORMAT && raw[10..14] == self.run_prefix()).then_some(raw)
    }

    fn run_prefix(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.run.to_be_bytes();
        [a, b, c, d]
    }

    fn tag(&self, raw: &[u8; RAW_LEN]) -> [u8; TAG_LEN] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u8(b'B');
        hasher.write(&self.run.to_be_bytes());
        hasher.write(&raw[..RAW_LEN - TAG_LEN]);
        let [tag @ .., _, _] = hasher.finish().to_be_bytes();
        tag
    }
}

/// The branch of a request that is forwarded statelessly (RFC 3261 §16.11): the same parts give the same branch, on
/// every worker, replica and run, so that a retransmission is one for the next hop too.
///
/// The parts, in this order: branch and sent-by of the topmost Via, Request-URI, From tag, To tag, Call-ID, `CSeq` number.
/// It is no secret and names no transaction: [`Branches::owner`] calls it foreign.
pub fn stateless<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; STATELESS_LEN] {
    let mut hasher = SipHasher128::new_with_keys(0, 0);
    for part in parts {
        write_part(&mut hasher, part);
    }
    let mut raw = [0; STATELESS_RAW_LEN];
    raw[0] = STATELESS_FORMAT;
    raw[4..].copy_from_slice(&hasher.finish128().as_u128().to_be_bytes());
    let mut text = [0; STATELESS_LEN];
    encode(&raw, &mut text);
    text
}

fn write_part(hasher: &mut impl Hasher, part: &[u8]) {
    hasher.write(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.write(part);
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The magic cookie, then `raw` (a multiple of 5 bytes) in base32, as long as `text` has room for exactly that.
pub(crate) fn encode(raw: &[u8], text: &mut [u8]) {
    let (cookie, digits) = text.split_at_mut(MAGIC_COOKIE.len());
    cookie.copy_from_slice(MAGIC_COOKIE);
    for (group, out) in raw.chunks_exact(5).zip(digits.chunks_exact_mut(8)) {
        let bits = group.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        for (position, digit) in out.iter_mut().rev().enumerate() {
            *digit = DIGITS[usize::try_from(bits >> (5 * position) & 31).unwrap_or(0)];
        }
    }
}

/// Base32 in either case into `raw`; whether every digit was one. Looks at all of them whatever it finds.
pub(crate) fn decode(digits: &[u8], raw: &mut [u8]) -> bool {
    let mut valid = true;
    for (group, out) in digits.chunks_exact(8).zip(raw.chunks_exact_mut(5)) {
        let mut bits = 0u64;
        for &digit in group {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'v' => digit - b'a' + 10,
                b'A'..=b'V' => digit - b'A' + 10,
                _ => {
                    valid = false;
                    0
                }
            };
            bits = bits << 5 | u64::from(value);
        }
        out.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    valid
}

#[cfg(test)]
mod tests;
