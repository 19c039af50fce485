//! Runs in virtual time, through a proxy that is a few lines of text handling, with somebody on the way who meddles.

use super::*;
use crate::script::Cast;
use serde_json::Value;

const PROXY: &str = "127.0.0.9:5060";
const CALLER_AT: &str = "127.0.0.1:6060";
const NODES_AT: [&str; 2] = ["127.0.0.2:5060", "127.0.0.3:5060"];
/// How long a datagram takes.
const TRAVEL: Duration = Duration::from_micros(20);

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn plan() -> Plan {
    Plan {
        cast: Cast {
            proxy: at(PROXY),
            caller: at(CALLER_AT),
            nodes: NODES_AT.map(at).to_vec(),
            users: vec!["g0".into(), "g1".into()],
        },
        arrivals: Arrivals::Rate(1000.0),
        extent: Extent::Calls(1),
        warmup: Duration::ZERO,
        hold: Duration::ZERO,
        in_progress: 0,
        setup_rate: 1000.0,
        patience: 64 * T1,
    }
}

/// A datagram on its way to an end.
struct Datagram {
    socket: usize,
    text: String,
}

impl Datagram {
    fn is(&self, start: &str, method: &str) -> bool {
        self.text.starts_with(start) && self.text.contains(&format!("{method}\r\n"))
    }

    fn replace(&mut self, old: &str, new: &str) {
        assert!(self.text.contains(old), "{old} in {}", self.text);
        self.text = self.text.replacen(old, new, 1);
    }
}

#[derive(Default)]
struct Queue(VecDeque<(usize, SocketAddr, String)>);

impl Leaving for Queue {
    fn send(&mut self, socket: usize, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.0.push_back((socket, to, String::from_utf8(bytes).unwrap()));
    }
}

/// With `records` Record-Routes; without any it is the bare forwarder.
struct Proxy {
    records: usize,
    next: usize,
}

impl Proxy {
    fn pass(&mut self, from: usize, text: &str) -> Option<Datagram> {
        self.next += 1;
        let turn = 1 + self.next % NODES_AT.len();
        if self.records == 0 {
            return Some(Datagram { socket: if from == CALLER { turn } else { CALLER }, text: text.into() });
        }
        let (start, rest) = text.split_once("\r\n").unwrap();
        if start.starts_with("SIP/2.0") {
            let (top, rest) = rest.split_once("\r\n").unwrap();
            assert!(top.starts_with(&format!("Via: SIP/2.0/UDP {PROXY};")), "{top}");
            return Some(Datagram { socket: CALLER, text: format!("{start}\r\n{rest}") });
        }
        let is_invite = start.starts_with("INVITE ");
        let node = NODES_AT.iter().position(|node| start.contains(node)).map(|node| node + 1);
        if start.starts_with("ACK ") && node.is_none() {
            return None; // that of a failure goes no farther (RFC 3261 §17.1.1.3)
        }
        assert_eq!(node.is_some(), !is_invite, "an INVITE is for the proxy to place, the rest has a place: {start}");
        let routes = rest.lines().filter(|line| line.starts_with("Route: ")).count();
        assert_eq!(routes, if is_invite { 0 } else { self.records });
        let mut out = format!("{start}\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKp{}\r\n", self.next);
        for number in (0..self.records).filter(|_| is_invite) {
            out.extend(["Record-Route: <sip:token", &number.to_string(), "@", PROXY, ";lr>\r\n"]);
        }
        let kept = rest.split_inclusive("\r\n").filter(|line| !line.starts_with("Route: "));
        out.extend(kept);
        Some(Datagram { socket: node.unwrap_or(turn), text: out.replace("Max-Forwards: 70", "Max-Forwards: 69") })
    }
}

struct Run {
    load: Load,
    events: Vec<Value>,
    now: Time,
}

impl Run {
    fn event(&self, name: &str) -> &Value {
        self.events.iter().find(|event| event["event"] == name).unwrap()
    }
}

/// Until it is over. `meddle` sees each datagram before its end does, and says whether it arrives.
fn run(plan: Plan, records: usize, mut meddle: impl FnMut(Time, &Load, &mut Datagram) -> bool) -> Run {
    let (mut now, mut queue, mut proxy) = (Time::from_secs(1), Queue::default(), Proxy { records, next: 0 });
    let mut load = Load::new(plan, now, 7);
    let mut events = Vec::new();
    while !load.is_over() {
        assert!(now < Time::from_secs(200), "it never ends: {events:?} {load:?}");
        load.turn(now, &mut queue);
        let idle = queue.0.is_empty();
        while let Some((from, to, text)) = queue.0.pop_front() {
            now += TRAVEL;
            let mut datagram = if to == at(PROXY) {
                let Some(passed) = proxy.pass(from, &text) else { continue };
                passed
            } else {
                assert_eq!((to, from), (at(CALLER_AT), from.max(1)), "past the proxy");
                Datagram { socket: CALLER, text }
            };
            // Without a Via of its own, the proxy is where things come from.
            if meddle(now, &load, &mut datagram) {
                load.receive(now, datagram.socket, at(PROXY), datagram.text.as_bytes(), &mut queue);
            }
        }
        while let Some(event) = load.take_event() {
            events.push(serde_json::to_value(event).unwrap());
        }
        if idle && !load.is_over() {
            now = load.next_due().min(Time::from_secs(1000)).max(now);
        }
    }
    Run { load, events, now }
}

#[test]
fn every_call_goes_through_a_forwarder_and_through_proxies_with_one_and_two_record_routes() {
    for records in 0..=2 {
        let plan =
            Plan { extent: Extent::Time(Duration::from_millis(200)), warmup: Duration::from_millis(50), ..plan() };
        let mut users = [0; 2];
        let run = run(plan, records, |_, _, datagram| {
            for (user, count) in users.iter_mut().enumerate() {
                *count += usize::from(datagram.text.starts_with(&format!("INVITE sip:g{user}@")));
            }
            true
        });
        let names: Vec<&str> = run.events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["begin", "end", "done"]);
        let end = run.event("end");
        for (figure, value) in [("calls_started", 200), ("calls_failed", 0), ("unexpected", 0), ("retransmissions", 0)]
        {
            assert_eq!(end[figure], value, "{figure} of {end}");
        }
        let journeys = |figure: &str| end[figure]["max"].as_f64().unwrap() / 20.0;
        for (figure, count) in [("oneway_us", 1.0), ("setup_us", 3.0), ("bye_us", 3.0)] {
            assert!((journeys(figure) - count).abs() < 0.1, "{figure} of {end}");
        }
        assert!(run.load.tally().is_clean());
        let done = run.event("done");
        assert_eq!((&done["calls_completed"], &done["datagrams_sent"]), (&250.into(), &1500.into()));
        assert_eq!(done["datagrams_received"], 1500);
        assert_eq!(users, [125, 125]);
    }
}

/// What becomes of a datagram.
enum Meddling {
    Lost,
    Diverted,
    Changed(&'static str, &'static str),
}

#[test]
fn a_message_that_is_not_what_it_should_be_fails_its_call_and_says_why() {
    use Meddling::{Changed, Diverted, Lost};
    let cases = [
        ("INVITE", "INVITE", Changed("PCMA", "PCMX"), "an INVITE with another body"),
        ("INVITE", "INVITE", Changed("tag=c", "tag=d"), "a request with another From"),
        ("INVITE", "INVITE", Changed("z9hG4bKi", "z9hG4bKj"), "whose last Via is not the caller's"),
        ("SIP/2.0 180", "INVITE", Changed("Via: ", "Via: x\r\nVia: "), "without exactly our Via"),
        ("SIP/2.0 180", "INVITE", Changed("branch=z9hG4bKi", "branch=z9hG4bKx"), "with another Via"),
        ("SIP/2.0 180", "INVITE", Lost, "180 never came"),
        ("SIP/2.0 200", "INVITE", Changed("1 INVITE", "3 INVITE"), "with another CSeq"),
        ("SIP/2.0 200", "INVITE", Changed(";tag=n", ";tag=m"), "without the called end's tag"),
        ("SIP/2.0 200", "INVITE", Changed("200 OK", "486 Busy Here"), "a status 486 to INVITE"),
        ("SIP/2.0 200", "INVITE", Changed("PCMU", "PCMX"), "an answer with another body"),
        ("SIP/2.0 200", "INVITE", Changed("Record-Route", "Record"), "more or less Record-Route"),
        ("SIP/2.0 200", "INVITE", Changed(";lr>", ">"), "a Record-Route without lr"),
        ("ACK", "ACK", Diverted, "at another node than its INVITE"),
        ("BYE", "BYE", Changed("BYE sip:node", "BYE sip:other"), "is not the node's Contact"),
        ("BYE", "BYE", Changed("CSeq", "Route: <sip:x;lr>\r\nCSeq"), "a Route that nobody took out"),
        ("SIP/2.0 200", "BYE", Changed("tag=c", "tag=d"), "a response with another From"),
    ];
    for (start, method, meddling, fault) in cases {
        let mut meddled = false;
        let run = run(plan(), 1, |_, _, datagram| {
            if !datagram.is(start, method) {
                return true;
            }
            meddled = true;
            match meddling {
                Lost => return false,
                Diverted => datagram.socket = 3 - datagram.socket,
                Changed(old, new) => datagram.replace(old, new),
            }
            true
        });
        let done = run.event("done");
        assert!(meddled && !run.load.tally().is_clean(), "{fault}");
        assert_eq!((&done["calls_completed"], &done["calls_failed"]), (&0.into(), &1.into()), "{fault}");
        assert!(done["reasons"][0].as_str().unwrap().contains(fault), "{fault} in {done}");
    }
}

#[test]
fn what_is_lost_once_is_sent_again_and_counted() {
    for (start, method) in
        [("INVITE", "INVITE"), ("SIP/2.0 200", "INVITE"), ("ACK", "ACK"), ("BYE", "BYE"), ("SIP/2.0 200", "BYE")]
    {
        let mut lost = false;
        let run = run(plan(), 1, |_, _, datagram| !datagram.is(start, method) || std::mem::replace(&mut lost, true));
        let tally = run.load.tally();
        assert_eq!((tally.calls_completed, tally.calls_failed), (1, 0), "{start} {method}");
        assert!(tally.retransmissions > 0 && !tally.is_clean(), "{start} {method}");
        let took = run.now.since(Time::from_secs(1));
        assert!(took >= T1 && took < 2 * T1, "{start} {method}: {took:?}");
    }
}

#[test]
fn an_invite_is_sent_seven_times_and_given_up_after_64_t1() {
    let mut times = Vec::new();
    let run = run(plan(), 1, |now, _, _| {
        times.push(now.since(Time::from_secs(1)).as_millis() / 100);
        false
    });
    assert_eq!(times, [0, 5, 15, 35, 75, 155, 315]);
    assert_eq!(run.now.since(Time::from_secs(33)).as_millis() / 100, 0);
    assert_eq!(run.event("done")["reasons"][0], "INVITE was never answered (1 times)");
    assert_eq!(run.load.tally().retransmissions, 6);
}

#[test]
fn a_call_that_rings_for_ever_and_a_datagram_that_is_cut_are_told() {
    let rings =
        run(plan(), 1, |_, _, datagram| datagram.is("INVITE", "INVITE") || datagram.is("SIP/2.0 180", "INVITE"));
    assert_eq!(rings.load.tally().calls_failed, 1);
    let mut cut = false;
    let cut = run(plan(), 1, |_, _, datagram| {
        if !std::mem::replace(&mut cut, true) {
            datagram.text.pop();
        }
        true
    });
    let tally = cut.load.tally();
    assert_eq!((tally.unexpected, tally.calls_completed, tally.retransmissions), (1, 1, 1));
    assert!(cut.event("done")["reasons"][0].as_str().unwrap().starts_with("a body of "));
}

#[test]
fn what_comes_twice_is_a_retransmission_and_what_is_not_ours_is_unexpected() {
    let mut load = Load::new(plan(), Time::from_secs(1), 7);
    let mut queue = Queue::default();
    load.turn(Time::from_secs(1), &mut queue);
    let (_, _, invite) = queue.0.pop_front().unwrap();
    for _ in 0..2 {
        load.receive(Time::from_secs(1), 1, at(PROXY), invite.as_bytes(), &mut queue);
    }
    assert_eq!(queue.0.len(), 3, "180, 200, and 200 again");
    assert_eq!((load.tally().retransmissions, load.tally().unexpected), (1, 0));
    let other = Load::new(plan(), Time::from_secs(1), 8).script;
    assert_eq!(other.name(invite.split("Call-ID: ").nth(1).unwrap()[..40].trim().as_bytes(), &mut Vec::new()), None);
    let options = "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1\r\nCall-ID: x\r\nl: 0\r\n\r\n";
    load.receive(Time::from_secs(1), 2, at(PROXY), options.as_bytes(), &mut queue);
    assert_eq!((load.tally().options_answered, load.tally().unexpected), (1, 0));
    assert!(queue.0.pop_back().unwrap().2.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.9;"));
    load.receive(Time::from_secs(1), CALLER, at(PROXY), options.as_bytes(), &mut queue);
    load.receive(Time::from_secs(1), CALLER, at(PROXY), b"\x00\x01", &mut queue);
    assert_eq!(load.tally().unexpected, 2);
}

#[test]
fn a_window_is_kept_full_and_never_overrun() {
    let mut most = 0;
    let arrivals = Arrivals::Window(20);
    let run = run(Plan { arrivals, extent: Extent::Calls(100), ..plan() }, 1, |_, load, _| {
        most = most.max(load.open);
        true
    });
    assert_eq!(most, 20);
    let end = run.event("end");
    assert_eq!(
        (&end["calls_started"], &end["calls_completed"], &end["calls_failed"]),
        (&100.into(), &100.into(), &0.into())
    );
}

#[test]
fn a_late_turn_makes_up_in_bursts_of_32() {
    let mut load = Load::new(plan(), Time::ZERO, 7);
    load.plan.extent = Extent::Time(Duration::from_secs(10));
    let mut queue = Queue::default();
    load.turn(Time::ZERO, &mut queue);
    let late = Time::from_millis(50);
    let mut bursts = Vec::new();
    while load.next_due() <= late {
        queue.0.clear();
        load.turn(late, &mut queue);
        bursts.push(queue.0.len());
    }
    assert_eq!(bursts, [32, 18]);
}

#[test]
fn calls_hold_and_standing_calls_stay_until_the_end() {
    let (mut byes, mut invites, mut most) = (Vec::new(), Vec::new(), 0);
    let plan = Plan {
        in_progress: 300,
        setup_rate: 2000.0,
        hold: Duration::from_millis(200),
        arrivals: Arrivals::Rate(100.0),
        extent: Extent::Time(Duration::from_secs(1)),
        ..plan()
    };
    let run = run(plan, 2, |now, load, datagram| {
        most = most.max(load.standing_moving);
        if datagram.is("INVITE", "INVITE") {
            invites.push(now);
        } else if datagram.is("BYE", "BYE") {
            byes.push(now);
        }
        true
    });
    assert_eq!(
        (run.event("standing")["calls"].as_u64(), run.event("end")["calls_started"].as_u64()),
        (Some(300), Some(100))
    );
    assert_eq!(run.event("end")["calls_completed"], 80, "those that held for 200 ms within the second");
    assert!(run.load.tally().is_clean() && run.load.tally().calls_completed == 400);
    assert!(most <= STANDING_WINDOW);
    let (set_up, hung_up) = (invites[299].since(invites[0]), byes[399].since(byes[100]));
    for took in [set_up, hung_up] {
        assert!(took >= Duration::from_millis(149), "no faster than 2000 a second: {took:?}");
    }
    assert!(byes[0].since(invites[300]) >= Duration::from_millis(200));
}
