//! Once a worker's memory of a group has its size, no choice allocates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

use switchtender_select::{
    Admission, Algorithm, Memory, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Rng, Slots, Snapshot, Time,
    Wanted, place,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every fifth node is ejected, every seventh full.
struct Mixed;

impl Nodes for Mixed {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        NodeLoad {
            admission: Admission::Open,
            max_sessions: if slot.0 % 7 == 0 { 1.0 } else { 1e6 },
            sessions_per_second: Some(1e6),
            ejected_until: if slot.0 % 5 == 0 { Time::MAX } else { Time::ZERO },
            ..NodeLoad::default()
        }
    }
    fn assign(&self, _slot: NodeSlot, _legs: u32, _now: Time) {}
    fn settle(&self, _slot: NodeSlot) {}
    fn ended(&self, _slot: NodeSlot) {}
    fn request(&self, _slot: NodeSlot, _now: Time) {}
    fn cool(&self, _slot: NodeSlot, _until: Time) {}
    fn suspect(&self, _slot: NodeSlot) {}
    fn answered(&self, _slot: NodeSlot) {}
    fn reserve(&self, _node: NodeSlot, _wanted: ResourceSet, _limit: &dyn Fn(ResourceSlot) -> Option<u32>) -> bool {
        true
    }
    fn release(&self, _node: NodeSlot, _taken: ResourceSet, _epoch: u32) {}
    fn epoch(&self, _node: NodeSlot) -> u32 {
        0
    }
    fn in_use(&self, _node: NodeSlot, _resource: ResourceSlot) -> u32 {
        0
    }
}

fn snapshot(algorithm: Algorithm) -> Snapshot {
    let secret = "A".repeat(85) + "A=";
    let list = |entry: &dyn Fn(u32) -> String| (0..60).map(entry).collect::<Vec<_>>().join(",");
    let json = format!(
        r#"{{"format": 2, "keys": [{{"id": 1, "secret": "{secret}"}}], "nodes": [{}],
            "groups": [{{"namespace": "n", "name": "g", "uid": "u", "generation": 1, "match": [],
                "algorithm": "{}", "legs_per_call": 2,
                "failover": {{"attempts": 3,
                    "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": []}},
                    "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]}},
                "timer_c_ms": 181000,
                "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
                "panic_threshold": 0.5, "max_ejected": 0.1, "members": [{}]}}]}}"#,
        list(&|node| format!(r#"{{"uid": "u{node}", "name": "fs{node}", "sip": "10.0.0.{}:5060"}}"#, node + 1)),
        algorithm.name(),
        list(&|node| format!(r#"{{"node": {node}, "weight": 1.0, "priority": {}, "draining": false}}"#, node / 30)),
    );
    Snapshot::from_json(json.as_bytes(), &mut Slots::new(64, 4).at(Time::ZERO)).unwrap()
}

#[test]
fn choosing_allocates_nothing() {
    for &algorithm in Algorithm::ALL {
        let snapshot = snapshot(algorithm);
        let (mut rng, mut memory) = (Rng::new(1), Memory::new());
        let mut run = |calls: u64, from: u64| {
            let before = ALLOCATIONS.get();
            for call in 0..calls {
                // Tables are built anew four times a second.
                let now = Time::from_millis(from + call);
                let wanted = Wanted { hash: Some(rng.next_u64()), ..Wanted::default() };
                let group = &snapshot.groups[0];
                assert!(place(&snapshot, group, &wanted, &Mixed, &[], now, &mut rng, &mut memory).is_ok());
            }
            ALLOCATIONS.get() - before
        };
        run(1_000, 1_000);
        assert_eq!(run(2_000, 5_000), 0, "{algorithm:?}");
    }
}
