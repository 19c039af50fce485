//! Tests of the branch: a golden vector made by an independent implementation, and what must hold for every branch.

use super::{BRANCH_LEN, Branches, LoopHash, Owner, STATELESS_LEN, Transaction, stateless};
use proptest::prelude::*;

const RUN: u64 = 0x0123_4567_89ab_cdef;

fn key() -> [u8; 16] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

fn worker(worker: u8) -> Branches {
    Branches::new(worker, RUN, key())
}

fn request<'a>() -> [&'a [u8]; 5] {
    [b"sip:1000@example.com", b"1928301774", b"", b"cid", b"1"]
}

#[test]
fn golden_vector() {
    let branch = worker(3).mint(Transaction { slot: 70_000, generation: 5 }, LoopHash(0x11_2233_4455));
    assert_eq!(&branch, b"z9hG4bK041g008he000000504hkapoh48pk8le3oihv27b1");
    assert_eq!(worker(3).loop_hash(request()), LoopHash(0x7e_5c74_b96f));
}

#[test]
fn tells_whose_transaction_it_is() {
    let transaction = Transaction { slot: 12, generation: 34 };
    let branch = worker(0).mint(transaction, LoopHash::default());
    assert_eq!(worker(0).owner(&branch), Owner::Mine(transaction));
    assert_eq!(worker(1).owner(&branch), Owner::OtherWorker(0));
    let after_a_restart = Branches::new(0, RUN + 1, key());
    assert_eq!(after_a_restart.owner(&branch), Owner::Foreign);
    let another_replica = Branches::new(0, RUN, [9; 16]);
    assert_eq!(another_replica.owner(&branch), Owner::Foreign);
}

#[test]
fn case_of_a_branch_does_not_matter() {
    let transaction = Transaction { slot: 0xdead_beef, generation: 0xcafe };
    let branch = worker(2).mint(transaction, LoopHash(77)).to_ascii_uppercase();
    assert_eq!(worker(2).owner(&branch), Owner::Mine(transaction));
}

#[test]
fn a_loop_is_told_from_a_spiral() {
    let ours = worker(0);
    let left_with = ours.loop_hash(request());
    let branch = ours.mint(Transaction { slot: 1, generation: 1 }, left_with);
    // It comes back on another worker of the same process.
    assert_eq!(worker(1).loop_hash_of(&branch), Some(left_with));
    let mut spiral = request();
    spiral[0] = b"sip:1001@example.com";
    assert_ne!(worker(1).loop_hash(spiral), left_with);
    assert_eq!(Branches::new(0, RUN + 1, key()).loop_hash_of(&branch), None);
}

#[test]
fn parts_do_not_run_into_each_other() {
    assert_ne!(worker(0).loop_hash([&b"ab"[..], b"c"]), worker(0).loop_hash([&b"a"[..], b"bc"]));
    assert_ne!(stateless([&b"ab"[..], b"c"]), stateless([&b"a"[..], b"bc"]));
}

#[test]
fn a_stateless_branch_is_the_same_everywhere_and_nobodys_transaction() {
    let branch = stateless(request());
    assert_eq!(&branch, &stateless(request()));
    assert_eq!(branch.len(), STATELESS_LEN);
    assert!(branch.starts_with(b"z9hG4bK"));
    assert_eq!(worker(0).owner(&branch), Owner::Foreign);
    let mut other = request();
    other[4] = b"2";
    assert_ne!(branch, stateless(other));
}

proptest! {
    #[test]
    fn reads_what_it_minted(slot: u32, generation: u32, minted_by: u8, read_by: u8, hash in 0..1u64 << 40) {
        let transaction = Transaction { slot, generation };
        let branch = worker(minted_by).mint(transaction, LoopHash(hash));
        prop_assert!(branch[7..].iter().all(u8::is_ascii_alphanumeric));
        let owner = if minted_by == read_by { Owner::Mine(transaction) } else { Owner::OtherWorker(minted_by) };
        prop_assert_eq!(worker(read_by).owner(&branch), owner);
        prop_assert_eq!(worker(read_by).loop_hash_of(&branch), Some(LoopHash(hash)));
    }

    #[test]
    fn any_other_branch_is_foreign(slot: u32, generation: u32, at in 0..BRANCH_LEN, flip in 1..=255u8, cut in 0..BRANCH_LEN) {
        let branch = worker(0).mint(Transaction { slot, generation }, LoopHash(1));
        let mut changed = branch;
        changed[at] ^= flip;
        prop_assume!(!changed.eq_ignore_ascii_case(&branch));
        prop_assert_eq!(worker(0).owner(&changed), Owner::Foreign);
        prop_assert_eq!(worker(0).owner(&branch[..cut]), Owner::Foreign);
        prop_assert_eq!(worker(0).owner(&[&branch[..], b"0"].concat()), Owner::Foreign);
    }

    #[test]
    fn garbage_is_foreign(branch in prop::collection::vec(any::<u8>(), 0..99), digits in "z9hG4bK[0-9a-v]{40}") {
        prop_assert_eq!(worker(0).owner(&branch), Owner::Foreign);
        prop_assert_eq!(worker(0).owner(digits.as_bytes()), Owner::Foreign);
    }
}
