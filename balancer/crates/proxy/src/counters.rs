//! What a worker counts: plain numbers that only it writes, read at scrape.

use std::time::Duration;

use switchtender_select::GroupSlot;

use crate::histogram::{Bounds, Histogram};

/// Of so many choices of a node, the time of one is taken: reading the clock twice costs about as much as a choice among
/// few nodes.
pub const CHOICES_PER_SAMPLE: u32 = 16;

macro_rules! counted {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of their index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in statistics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

counted! {
    /// Counts over all traffic of a worker.
    Counter {
        /// Datagrams given to the core, handed-over ones included.
        Received = "received",
        /// Requests among them that are well formed.
        RequestsReceived = "requests_received",
        /// Responses among them that are well formed.
        ResponsesReceived = "responses_received",
        /// Keep-alives and empty datagrams.
        KeepAlives = "keep_alives",
        /// Malformed datagrams that were dropped.
        MalformedDropped = "malformed_dropped",
        /// Malformed requests that were answered.
        MalformedAnswered = "malformed_answered",
        /// Requests that matched a transaction we have.
        Retransmissions = "retransmissions",
        /// ACKs that belong to nothing.
        StrayAcks = "stray_acks",
        /// Responses that belong to nothing: of an earlier life, of another element, or forged.
        StrayResponses = "stray_responses",
        /// Responses whose Call-ID or `CSeq` is not that of the transaction their branch names.
        MismatchedResponses = "mismatched_responses",
        /// Responses with no Via below ours (RFC 3261 §16.7 step 3).
        ResponsesWithoutVia = "responses_without_via",
        /// Datagrams passed to a sibling worker.
        HandedOver = "handed_over",
        /// Datagrams meant for a sibling that could not be passed.
        HandOversLost = "hand_overs_lost",
        /// Messages that would not fit once forwarded.
        Oversized = "oversized",
        /// Requests sent, retransmissions included.
        RequestsSent = "requests_sent",
        /// Responses sent, retransmissions included.
        ResponsesSent = "responses_sent",
        /// Of those, what was sent again because nothing came back.
        Retransmitted = "retransmitted",
        /// Requests refused by ourselves with 404, 405 or 416.
        RejectedTarget = "rejected_target",
        /// Requests refused with 420.
        RejectedExtension = "rejected_extension",
        /// In-dialog requests and CANCELs answered with 481.
        RejectedNoDialog = "rejected_no_dialog",
        /// Requests answered with 482 (RFC 3261 §16.3 step 4).
        RejectedLoop = "rejected_loop",
        /// Requests answered with 483.
        RejectedHops = "rejected_hops",
        /// Requests refused because of our own limits.
        RejectedOverload = "rejected_overload",
        /// New requests refused because no node of their group may take them.
        RejectedOverLimit = "rejected_over_limit",
        /// Requests in dialogs refused because of a node's request budget.
        RejectedBudget = "rejected_budget",
        /// Requests dropped because even transactions in dialogs passed twice the limit.
        DroppedOverload = "dropped_overload",
        /// Requests from a caller whose path token only nodes may use.
        RejectedForeignPath = "rejected_foreign_path",
        /// Requests refused because their listener does not take them from there.
        RejectedSource = "rejected_source",
        /// New requests from the side of the nodes that may not leave.
        RejectedOutward = "rejected_outward",
        /// Tokens that could not be trusted, or are of another dialog.
        TokensRefused = "tokens_refused",
        /// Requests that a node sent with a token to some address, and that went to the caller's own flow instead.
        ForcedToFlow = "forced_to_flow",
        /// Requests for a caller whose flow is no more, answered with 430 (RFC 5626 §5.3).
        RejectedFlowFailed = "rejected_flow_failed",
        /// Responses that went over a new connection because the one of their request is no more (RFC 3261 §18.2.2).
        ResponsesRerouted = "responses_rerouted",
        /// Responses that could not be sent because the connection of their request is no more.
        ResponsesLost = "responses_lost",
        /// Requests forwarded without a transaction, by the mode of their group.
        RelayedRequests = "relayed_requests",
        /// Responses to them that were passed on.
        RelayedResponses = "relayed_responses",
        /// CANCELs that found their INVITE.
        Cancels = "cancels",
        /// Transport errors that found their transaction.
        TransportErrors = "transport_errors",
        /// Transport errors that found none.
        StrayTransportErrors = "stray_transport_errors",
        /// OPTIONS that we answered ourselves.
        OptionsAnswered = "options_answered",
        /// Late or further 2xx that were passed on.
        Further2xx = "further_2xx",
        /// INVITEs sent to the node that had challenged their Call-ID.
        Challenged = "challenged",
        /// INVITEs sent to the node of the dialog that they replace or join.
        NamedDialog = "named_dialog",
    }
}

counted! {
    /// Counts of one group's new calls.
    Outcome {
        /// Calls taken on: a first node was chosen, or none had room.
        Offered = "offered",
        /// A 2xx was passed upstream.
        Answered = "answered",
        /// A 3xx.
        Redirected = "redirected",
        /// A 4xx other than 401, 407, 408 and 487.
        ClientError = "client_error",
        /// 401 or 407: the caller comes again with credentials.
        Challenged = "challenged",
        /// A 5xx other than our own refusals.
        ServerError = "server_error",
        /// A 6xx.
        Declined = "declined",
        /// No node answered in time.
        TimedOut = "timed_out",
        /// The caller cancelled before an answer.
        Cancelled = "cancelled",
        /// Refused: every node that may take calls is full or throttled.
        RejectedFull = "rejected_full",
        /// Refused: no node may take calls.
        RejectedNoneReady = "rejected_none_ready",
        /// Refused: every node that was tried refused by itself.
        RejectedRefused = "rejected_refused",
        /// Had to wait, since nothing but per-second limits were used up.
        Held = "held",
        /// Waited and then got a node.
        HeldPlaced = "held_placed",
        /// Waited in vain.
        HeldExpired = "held_expired",
        /// Went to another group, for lack of room; all else is counted there.
        Spilled = "spilled",
        /// Calls of nodes to the outside; of these nothing else is counted here but the next two.
        Outward = "outward",
        /// Of those, answered.
        OutwardAnswered = "outward_answered",
        /// Of those, refused or given up.
        OutwardFailed = "outward_failed",
        /// Went on to the next node after its own refusal.
        FailoverRefusal = "failover_refusal",
        /// Went on after a status code the group retries on.
        FailoverCode = "failover_code",
        /// Went on after no response at all.
        FailoverSilence = "failover_silence",
        /// Went on after nothing followed the 100.
        FailoverProgress = "failover_progress",
        /// Went on after a transport error.
        FailoverTransport = "failover_transport",
        /// Went on because the node shut down.
        FailoverShutdown = "failover_shutdown",
    }
}

counted! {
    /// Durations in a group's new calls, in seconds.
    Delay {
        /// From the caller's INVITE to the first answer above 100 that was passed to it, if that is no refusal.
        PostDial = "post_dial_delay",
        /// From an INVITE sent to a node to the first response of that node, 100 included.
        FirstResponse = "first_response",
    }
}

impl Delay {
    /// Of all their histograms.
    pub const BOUNDS: Bounds = Bounds::ANSWERS;
}

/// What is counted of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCounts {
    /// How often anything below changed: who copied them knows by it whether to copy them again.
    pub changes: u64,
    /// By index of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::COUNT],
    /// By index of [`Delay::ALL`].
    pub delays: [Histogram; Delay::COUNT],
}

impl Default for GroupCounts {
    fn default() -> Self {
        Self { changes: 0, outcomes: [0; Outcome::COUNT], delays: Default::default() }
    }
}

impl GroupCounts {
    /// Each number of this and of the other one, turned into one by `join`.
    pub fn merge(&mut self, other: &Self, join: fn(u64, u64) -> u64) {
        self.changes = join(self.changes, other.changes);
        merge(&mut self.outcomes, &other.outcomes, join);
        for (mine, others) in self.delays.iter_mut().zip(&other.delays) {
            mine.merge(others, join);
        }
    }
}

/// All counts of one worker.
#[derive(Clone, Debug)]
pub struct Counters {
    totals: [u64; Counter::COUNT],
    groups: Vec<GroupCounts>,
    choices: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self { totals: [0; Counter::COUNT], groups: Vec::new(), choices: Histogram::default() }
    }
}

impl Counters {
    /// By index of [`Counter::ALL`].
    pub fn totals(&self) -> &[u64; Counter::COUNT] {
        &self.totals
    }

    /// One of them.
    pub fn get(&self, counter: Counter) -> u64 {
        self.totals[counter as usize]
    }

    /// By slot of the group; a group without calls may be absent at the end.
    pub fn groups(&self) -> &[GroupCounts] {
        &self.groups
    }

    /// One count of one group.
    pub fn outcome(&self, group: GroupSlot, outcome: Outcome) -> u64 {
        self.groups.get(group.0 as usize).map_or(0, |counts| counts.outcomes[outcome as usize])
    }

    /// One histogram of one group, with [`Delay::BOUNDS`].
    pub fn delay(&self, group: GroupSlot, delay: Delay) -> Histogram {
        self.groups
            .get(group.0 as usize)
            .map_or_else(Histogram::default, |counts| counts.delays[delay as usize].clone())
    }

    /// The time that one choice of a node takes, with [`Bounds::STEPS`]: of one choice in [`CHOICES_PER_SAMPLE`].
    pub fn choices(&self) -> &Histogram {
        &self.choices
    }

    /// Adds what another worker, or this one in an earlier life, has counted.
    pub fn absorb(&mut self, other: &Self) {
        merge(&mut self.totals, &other.totals, u64::wrapping_add);
        if self.groups.len() < other.groups.len() {
            self.groups.resize_with(other.groups.len(), GroupCounts::default);
        }
        for (mine, others) in self.groups.iter_mut().zip(&other.groups) {
            mine.merge(others, u64::wrapping_add);
        }
        self.choices.merge(&other.choices, u64::wrapping_add);
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.totals[counter as usize] += 1;
    }

    pub(crate) fn count_outcome(&mut self, group: GroupSlot, outcome: Outcome) {
        if let Some(counts) = self.changing(group) {
            counts.outcomes[outcome as usize] += 1;
        }
    }

    /// Adds one observation to a group's histogram.
    pub fn note_delay(&mut self, group: GroupSlot, delay: Delay, duration: Duration) {
        if let Some(counts) = self.changing(group) {
            counts.delays[delay as usize].record(&Delay::BOUNDS, duration);
        }
    }

    pub(crate) fn note_choice(&mut self, duration: Duration) {
        self.choices.record(&Bounds::STEPS, duration);
    }

    fn changing(&mut self, group: GroupSlot) -> Option<&mut GroupCounts> {
        let index = group.0 as usize;
        if self.groups.len() <= index {
            // Slots are handed out densely, so this grows with the number of groups and not with traffic.
            self.groups.resize_with(index + 1, GroupCounts::default);
        }
        let counts = self.groups.get_mut(index)?;
        counts.changes += 1;
        Some(counts)
    }
}

fn merge(mine: &mut [u64], others: &[u64], join: fn(u64, u64) -> u64) {
    for (mine, other) in mine.iter_mut().zip(others) {
        *mine = join(*mine, *other);
    }
}
