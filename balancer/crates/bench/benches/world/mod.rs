//! Nodes and a group for the benchmarks: a view of the nodes that costs nothing itself.

use switchtender_select::{Admission, NodeLoad, NodeSlot, Nodes, ResourceSet, ResourceSlot, Slots, Snapshot, Time};

/// Nodes of unlike size and load; all can take calls.
pub(crate) struct Pool(Vec<NodeLoad>);

impl Pool {
    pub(crate) fn new(nodes: u32) -> Self {
        let load = |node: u32| NodeLoad {
            admission: Admission::Open,
            sessions: f64::from(node % 7) * 10.0,
            max_sessions: 100.0 + f64::from(node % 5) * 100.0,
            sessions_per_second: Some(1e9),
            idle_cpu: Some(90.0),
            ..NodeLoad::default()
        };
        Self((0..nodes).map(load).collect())
    }
}

impl Nodes for Pool {
    fn load(&self, slot: NodeSlot, _now: Time) -> NodeLoad {
        self.0[slot.0 as usize]
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

/// One group over so many nodes; `mode` as configured.
pub(crate) fn snapshot(nodes: u32, algorithm: &str, mode: &str) -> Snapshot {
    let secret = "A".repeat(85) + "A=";
    let list = |entry: &dyn Fn(u32) -> String| (0..nodes).map(entry).collect::<Vec<_>>().join(",");
    let json = format!(
        r#"{{"format": 2, "keys": [{{"id": 1, "secret": "{secret}"}}], "nodes": [{}],
            "groups": [{{"namespace": "n", "name": "g", "uid": "u", "generation": 1, "priority": 0, "match": [],
                "algorithm": "{algorithm}", "mode": "{mode}", "legs_per_call": 2,
                "failover": {{"attempts": 3,
                    "retry_on": {{"own_refusal": true, "timeout": true, "transport": true, "codes": [410]}},
                    "first_response_timeout_ms": 2000, "progress_timeout_ms": 10000, "cool_down_ms": [1000, 2000]}},
                "timer_c_ms": 181000,
                "over_limit": {{"action": "Reject", "status": 503, "retry_after_s": [5, 15]}},
                "panic_threshold": 0.5, "members": [{}]}}]}}"#,
        list(&|node| format!(
            r#"{{"uid": "u{node}", "name": "fs{node}", "sip": "10.0.{}.{}:5060"}}"#,
            node / 250,
            node % 250 + 1
        )),
        list(&|node| format!(r#"{{"node": {node}, "weight": {}.0, "priority": 0, "draining": false}}"#, node % 3 + 1)),
    );
    Snapshot::from_json(json.as_bytes(), &mut Slots::new(1024, 4).at(Time::ZERO)).unwrap()
}
