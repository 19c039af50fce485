//! A run: which calls are made when, and what becomes of what the network brings. No sockets and no clock: time and
//! datagrams come in, datagrams and events go out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::Time;

use crate::call::{Call, Calls, Stage};
use crate::callee::{self, Asked};
use crate::caller::{self, Heard};
use crate::figures::{Event, Figures, Latencies, Reasons, Tally, Totals};
use crate::pace::Pace;
use crate::plan::{Arrivals, Extent, Plan};
use crate::reading::{Fault, Reading};
use crate::script::{Name, Script};
use crate::timers::{Due, T1, T2, Timers, What};

/// Calls that are begun, or ended, in one turn: then the network is looked at.
const BURST: usize = 32;
/// Standing calls that are being set up, or hung up, at once.
const STANDING_WINDOW: usize = 64;
/// The most calls at once, besides those that stand: more than a proxy that lost everything could leave open.
const MOST_CALLS: usize = 1 << 19;

/// The caller's socket; a node's is one more than its place.
pub const CALLER: usize = 0;

/// What takes the datagrams that leave.
pub trait Leaving {
    /// A datagram from this socket to this address; `write` appends its bytes.
    fn send(&mut self, socket: usize, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>));
}

/// Which part of a run it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    SettingUp,
    Warming {
        until: Time,
    },
    Measuring {
        since: Time,
    },
    /// No more calls are made; those that are open end.
    Draining,
    HangingUp,
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    script: Script,
    calls: Calls,
    timers: Timers,
    phase: Phase,
    pace: Pace,
    /// Calls that go on and do not stand until the end.
    open: usize,
    /// Standing calls: begun, on their way up or down, and up.
    standing_begun: usize,
    standing_moving: usize,
    standing_up: VecDeque<Name>,
    tally: Tally,
    /// What was counted when the measured window began.
    before: Tally,
    latencies: Latencies,
    reasons: Reasons,
    events: VecDeque<Event>,
    /// Buffers of answers that are not needed any more.
    spare: Vec<Vec<u8>>,
    room: Vec<u8>,
}

impl Load {
    /// A run that begins now. `run` sets its calls off from those of other runs.
    pub fn new(plan: Plan, now: Time, run: u32) -> Self {
        Self {
            script: Script::new(&plan.cast, run),
            calls: Calls::new(MOST_CALLS + plan.in_progress),
            timers: Timers::default(),
            phase: Phase::SettingUp,
            pace: Pace::new(now, plan.setup_rate),
            open: 0,
            standing_begun: 0,
            standing_moving: 0,
            standing_up: VecDeque::new(),
            tally: Tally::default(),
            before: Tally::default(),
            latencies: Latencies::default(),
            reasons: Reasons::default(),
            events: VecDeque::new(),
            spare: Vec::new(),
            room: Vec::new(),
            plan,
        }
    }

    /// Take what happened since the last time.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether everything is over.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// What was counted so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// When to look again, if nothing comes before.
    pub fn next_due(&self) -> Time {
        let phase = match (self.phase, self.plan.extent) {
            (Phase::Warming { until }, _) => until,
            (Phase::Measuring { since }, Extent::Time(time)) => since + time,
            _ => Time::MAX,
        };
        let arrival = match (self.phase, self.plan.arrivals) {
            (Phase::Warming { .. } | Phase::Measuring { .. }, Arrivals::Rate(_)) if self.may_start() => self.pace.due(),
            (Phase::Warming { .. } | Phase::Measuring { .. }, Arrivals::Window(size))
                if self.may_start() && self.open < size =>
            {
                Time::ZERO
            }
            (Phase::SettingUp, _) if self.standing_moving < STANDING_WINDOW => self.pace.due(),
            (Phase::HangingUp, _) if self.standing_moving < STANDING_WINDOW && !self.standing_up.is_empty() => {
                self.pace.due()
            }
            _ => Time::MAX,
        };
        phase.min(arrival).min(self.timers.next())
    }

    /// Do what is due.
    pub fn turn(&mut self, now: Time, out: &mut impl Leaving) {
        while let Some(due) = self.timers.take(now) {
            self.on_due(now, due, out);
        }
        self.change_phase(now);
        match self.phase {
            Phase::SettingUp => {
                for _ in 0..BURST {
                    let wanted = self.standing_begun < self.plan.in_progress && self.standing_moving < STANDING_WINDOW;
                    if !wanted || self.pace.take(now).is_none() {
                        break;
                    }
                    self.start(now, true, out);
                }
            }
            Phase::Warming { .. } | Phase::Measuring { .. } => self.start_due(now, out),
            Phase::HangingUp => {
                for _ in 0..BURST {
                    if self.standing_moving >= STANDING_WINDOW || self.pace.take(now).is_none() {
                        break;
                    }
                    let Some(name) = self.standing_up.pop_front() else { break };
                    self.standing_moving += 1;
                    self.hang_up(now, name, out);
                }
            }
            Phase::Draining | Phase::Over => {}
        }
    }

    /// Take a datagram that came to a socket.
    pub fn receive(&mut self, now: Time, socket: usize, source: SocketAddr, bytes: &[u8], out: &mut impl Leaving) {
        self.tally.datagrams_received += 1;
        if let Err(fault) = self.take(now, socket, source, bytes, out) {
            self.complain(fault);
        }
    }

    /// Something that belongs to no call.
    pub fn complain(&mut self, fault: Fault) {
        self.tally.unexpected += 1;
        self.reasons.note(fault);
    }

    fn take(
        &mut self,
        now: Time,
        socket: usize,
        source: SocketAddr,
        bytes: &[u8],
        out: &mut impl Leaving,
    ) -> Result<(), Fault> {
        let reading = Reading::of(bytes)?;
        let Some(name) = self.script.name(reading.call_id, &mut self.room) else {
            return self.take_stranger(socket, source, &reading, out);
        };
        let Some(call) = self.calls.get(name) else {
            if !self.calls.was(name.serial) {
                return Err("a message of a call that was never made".into());
            }
            self.tally.retransmissions += u64::from(reading.status() != Some(100));
            self.acknowledge_failure(name, socket, &reading, out);
            return Ok(());
        };
        let judged = if socket == CALLER {
            caller::hear(&self.script, name, call, &reading, &mut self.room)
                .map(|heard| self.on_heard(now, name, heard, out))
        } else {
            let node = u16::try_from(socket - 1).unwrap_or(u16::MAX);
            callee::hear(&self.script, name, call, (node, source), &reading, &mut self.room)
                .map(|asked| self.on_asked(now, name, (asked, node, source), &reading, out))
        };
        if let Err(fault) = judged {
            self.fail(name, fault);
            self.acknowledge_failure(name, socket, &reading, out);
        }
        Ok(())
    }

    /// A proxy repeats a failure until it is acknowledged.
    fn acknowledge_failure(&mut self, name: Name, socket: usize, reading: &Reading<'_>, out: &mut impl Leaving) {
        if socket == CALLER && reading.cseq == b"1 INVITE" && reading.status().is_some_and(|status| status >= 300) {
            self.tally.datagrams_sent += 1;
            out.send(CALLER, self.plan.cast.proxy, |bytes| {
                caller::write_ack_to_failure(&self.script, name, reading, bytes);
            });
        }
    }

    /// Proxies ask nodes by OPTIONS whether they are there.
    fn take_stranger(
        &mut self,
        socket: usize,
        source: SocketAddr,
        reading: &Reading<'_>,
        out: &mut impl Leaving,
    ) -> Result<(), Fault> {
        match reading.request() {
            Some((b"OPTIONS", _)) if socket != CALLER => {
                self.tally.options_answered += 1;
                self.tally.datagrams_sent += 1;
                out.send(socket, source, |bytes| callee::write_ok(&self.script, reading, bytes));
                Ok(())
            }
            _ => Err(format!("no message of this run: {}", reading.start.escape_ascii()).into()),
        }
    }

    fn on_heard(&mut self, now: Time, name: Name, heard: Heard, out: &mut impl Leaving) {
        let Some(call) = self.calls.get(name) else { return };
        match heard {
            Heard::Progress => {}
            Heard::Again => self.tally.retransmissions += 1,
            Heard::AnsweredAgain => {
                self.tally.retransmissions += 1;
                self.tally.datagrams_sent += 1;
                out.send(CALLER, call.caller.next_hop, |bytes| caller::write_ack(&self.script, name, call, bytes));
            }
            Heard::Answered => {
                self.latencies.setup.record(now.since(call.caller.since));
                self.tally.datagrams_sent += 1;
                out.send(CALLER, call.caller.next_hop, |bytes| caller::write_ack(&self.script, name, call, bytes));
                if call.standing {
                    self.standing_moving -= 1;
                    self.standing_up.push_back(name);
                } else if self.plan.hold.is_zero() {
                    self.hang_up(now, name, out);
                } else {
                    self.timers.set(now, self.plan.hold, What::HangUp, name);
                }
            }
            Heard::Over => {
                self.latencies.bye.record(now.since(call.caller.since));
                self.close_if_over(name);
            }
        }
    }

    fn on_asked(
        &mut self,
        now: Time,
        name: Name,
        (asked, node, source): (Asked, u16, SocketAddr),
        reading: &Reading<'_>,
        out: &mut impl Leaving,
    ) {
        let socket = usize::from(node) + 1;
        let Some(call) = self.calls.get(name) else { return };
        match asked {
            Asked::Invited => {
                self.latencies.oneway.record(now.since(call.caller.since));
                let callee = &mut call.callee;
                callee.since = now;
                callee.answer = self.spare.pop().unwrap_or_default();
                callee::write_answer(&self.script, name, node, reading, &mut callee.answer);
                self.tally.datagrams_sent += 2;
                let to = callee.reply_to;
                out.send(socket, to, |bytes| callee::write_ringing(&self.script, name, node, reading, bytes));
                out.send(socket, to, |bytes| bytes.extend_from_slice(&callee.answer));
                self.timers.set(now, T1, What::Answer, name);
            }
            Asked::InvitedAgain => {
                self.tally.retransmissions += 1;
                if !call.callee.acked {
                    self.tally.datagrams_sent += 1;
                    out.send(socket, call.callee.reply_to, |bytes| bytes.extend_from_slice(&call.callee.answer));
                }
            }
            Asked::Acked => {
                let mut answer = std::mem::take(&mut call.callee.answer);
                answer.clear();
                self.spare.push(answer);
                self.close_if_over(name);
            }
            Asked::AckedAgain => self.tally.retransmissions += 1,
            Asked::Bye | Asked::ByeAgain => {
                self.tally.retransmissions += u64::from(asked == Asked::ByeAgain);
                self.tally.datagrams_sent += 1;
                let to = callee::reply_to(reading, source);
                out.send(socket, to, |bytes| callee::write_ok(&self.script, reading, bytes));
                self.close_if_over(name);
            }
        }
    }

    fn on_due(&mut self, now: Time, due: Due, out: &mut impl Leaving) {
        let name = due.name();
        let Some(call) = self.calls.get(name) else { return };
        let (waits, silent, since) = match due.what {
            What::HangUp => return self.hang_up(now, name, out),
            What::Invite => match call.caller.stage {
                Stage::Calling => (true, false, call.caller.since),
                // A provisional response ends the repeating, not the waiting (RFC 3261 §17.1.1.2).
                Stage::Proceeding => (true, true, call.caller.since),
                _ => (false, true, now),
            },
            What::Answer => (!call.callee.acked, false, call.callee.since),
            What::Bye => (call.caller.stage == Stage::Leaving, false, call.caller.since),
        };
        if !waits {
            return;
        }
        let deadline = since + self.plan.patience;
        if now >= deadline {
            let fault = match due.what {
                What::Invite => "INVITE was never answered",
                What::Answer => "200 of INVITE was never acknowledged",
                _ => "BYE was never answered",
            };
            return self.fail(name, fault.into());
        }
        if !silent {
            self.tally.retransmissions += 1;
            self.tally.datagrams_sent += 1;
            match due.what {
                What::Invite => {
                    out.send(CALLER, call.caller.next_hop, |bytes| {
                        caller::write_invite(&self.script, name, call, bytes);
                    });
                }
                What::Bye => {
                    out.send(CALLER, call.caller.next_hop, |bytes| caller::write_bye(&self.script, name, call, bytes));
                }
                What::Answer | What::HangUp => {
                    let socket = call.callee.node.map_or(CALLER, |node| usize::from(node) + 1);
                    out.send(socket, call.callee.reply_to, |bytes| bytes.extend_from_slice(&call.callee.answer));
                }
            }
        }
        let longest = if due.what == What::Invite { Duration::MAX } else { T2 };
        self.timers.set(now, (due.after * 2).min(longest).min(deadline.since(now)), due.what, name);
    }

    fn start_due(&mut self, now: Time, out: &mut impl Leaving) {
        for _ in 0..BURST {
            if !self.may_start() {
                return;
            }
            match self.plan.arrivals {
                Arrivals::Rate(_) => {
                    let Some(late) = self.pace.take(now) else { return };
                    self.latencies.late.record(late);
                }
                Arrivals::Window(size) if self.open >= size => return,
                Arrivals::Window(_) => {}
            }
            self.start(now, false, out);
        }
    }

    fn may_start(&self) -> bool {
        match (self.phase, self.plan.extent) {
            (Phase::Measuring { .. }, Extent::Calls(calls)) => {
                self.tally.calls_started - self.before.calls_started < calls
            }
            _ => true,
        }
    }

    fn start(&mut self, now: Time, standing: bool, out: &mut impl Leaving) {
        self.tally.calls_started += 1;
        self.standing_begun += usize::from(standing);
        let groups = self.script.lines.len().max(1) as u64;
        let group = u32::try_from(self.tally.calls_started % groups).unwrap_or(0);
        let Some(name) = self.calls.open(now, group, standing, self.plan.cast.proxy) else {
            self.tally.calls_failed += 1;
            self.reasons.note("too many calls open at once".into());
            return;
        };
        let Some(call) = self.calls.get(name) else { return };
        if standing {
            self.standing_moving += 1;
        } else {
            self.open += 1;
        }
        self.tally.datagrams_sent += 1;
        out.send(CALLER, call.caller.next_hop, |bytes| caller::write_invite(&self.script, name, call, bytes));
        self.timers.set(now, T1, What::Invite, name);
    }

    fn hang_up(&mut self, now: Time, name: Name, out: &mut impl Leaving) {
        let Some(call) = self.calls.get(name) else { return };
        (call.caller.stage, call.caller.since) = (Stage::Leaving, now);
        self.tally.datagrams_sent += 1;
        out.send(CALLER, call.caller.next_hop, |bytes| caller::write_bye(&self.script, name, call, bytes));
        self.timers.set(now, T1, What::Bye, name);
    }

    fn close_if_over(&mut self, name: Name) {
        let Some(call) = self.calls.get(name).filter(|call| call.is_over()) else { return };
        if call.caller.rung {
            self.tally.calls_completed += 1;
            self.close(name);
        } else {
            self.fail(name, "180 never came".into());
        }
    }

    fn fail(&mut self, name: Name, fault: Fault) {
        self.tally.calls_failed += 1;
        self.reasons.note(fault);
        self.close(name);
    }

    fn close(&mut self, name: Name) {
        let Some(Call { standing, caller, .. }) = self.calls.get(name) else { return };
        match (*standing, caller.stage) {
            (false, _) => self.open -= 1,
            (true, Stage::Up) => self.standing_up.retain(|up| *up != name),
            (true, _) => self.standing_moving -= 1,
        }
        self.calls.close(name);
    }

    fn change_phase(&mut self, now: Time) {
        match self.phase {
            Phase::SettingUp if self.standing_begun == self.plan.in_progress && self.standing_moving == 0 => {
                if self.plan.in_progress > 0 {
                    self.events.push_back(Event::Standing { calls: self.standing_up.len() });
                }
                if let Arrivals::Rate(rate) = self.plan.arrivals {
                    self.pace = Pace::new(now, rate);
                }
                self.phase = Phase::Warming { until: now + self.plan.warmup };
                self.change_phase(now);
            }
            Phase::Warming { until } if now >= until => {
                self.before = self.tally;
                self.latencies.clear();
                self.events.push_back(Event::Begin);
                self.phase = Phase::Measuring { since: now };
            }
            Phase::Measuring { since } => {
                let ends = match self.plan.extent {
                    Extent::Time(time) => now >= since + time,
                    Extent::Calls(_) => !self.may_start() && self.open == 0,
                };
                if ends {
                    let (tally, seconds) = (self.tally.since(&self.before), now.since(since).as_secs_f64());
                    let figures = Figures::new(tally, seconds, &self.latencies, &self.reasons);
                    self.events.push_back(Event::End(figures));
                    self.phase = Phase::Draining;
                    self.change_phase(now);
                }
            }
            Phase::Draining if self.open == 0 => {
                self.pace = Pace::new(now, self.plan.setup_rate);
                self.phase = Phase::HangingUp;
                self.change_phase(now);
            }
            Phase::HangingUp if self.calls.is_empty() => {
                self.events.push_back(Event::Done(Totals::new(self.tally, &self.reasons)));
                self.phase = Phase::Over;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
