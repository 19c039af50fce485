//! Whether one node may take one more call now, and if not, why.

use crate::group::{Group, Member};
use crate::load::{Admission, Evaluation, NodeLoad, evaluate};

use crate::time::Time;

/// `FreeSWITCH`'s `sessions-per-second` where no report told it.
pub const DEFAULT_SESSIONS_PER_SECOND: f64 = 30.0;

/// `FreeSWITCH` drops everything on a SIP profile past 1,000 requests in a second (`max-recv-requests-per-second`);
/// no new calls from here on …
const REQUESTS_FOR_NEW_CALLS: f64 = 800.0;
/// … and nothing but ACK, BYE, CANCEL and PRACK from here on.
const REQUESTS_IN_DIALOG: f64 = 950.0;

/// What [`judge`] found, the first that holds from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may take the call.
    Eligible,
    /// The call already tried it.
    Excluded,
    /// The member is draining.
    Draining,
    /// Its weight is 0.
    ZeroWeight,
    /// Closed by the control side (paused, draining, shutting down, disabled).
    Closed,
    /// It has not reported yet.
    Unknown,
    /// Stale or down.
    Unreachable,
    /// Calls failed there in a row.
    Ejected,
    /// It refused or could not be reached a moment ago.
    Cooling,
    /// It timed out and one call is on its way there already.
    Suspect,
    /// No room for one more call.
    Full,
    /// A resource that the call needs is used up.
    Resource,
    /// Its sessions-per-second are used up.
    RateLimited,
    /// Its requests per second are used up.
    RequestBudget,
}

impl Verdict {
    /// The name in tables, JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eligible => "Eligible",
            Self::Excluded => "Excluded",
            Self::Draining => "Draining",
            Self::ZeroWeight => "ZeroWeight",
            Self::Closed => "Closed",
            Self::Unknown => "Unknown",
            Self::Unreachable => "Unreachable",
            Self::Ejected => "Ejected",
            Self::Cooling => "Cooling",
            Self::Suspect => "Suspect",
            Self::Full => "Full",
            Self::Resource => "Resource",
            Self::RateLimited => "RateLimited",
            Self::RequestBudget => "RequestBudget",
        }
    }
}

/// Whether `member` of `group` may take one more call at `now`, with the numbers behind it. Pure: nothing is counted.
/// Of resources it knows nothing, and an ejection counts as it stands.
#[inline(always)]
#[allow(clippy::inline_always)] // see `evaluate`
pub fn judge(group: &Group, member: &Member, load: &NodeLoad, now: Time) -> (Evaluation, Verdict) {
    // What is kept for emergency calls stands between us and the node's own limit, unless our cap is lower anyway.
    let reserve = f64::from(group.emergency_reserve);
    within(group, member, &NodeLoad { max_sessions: load.max_sessions - reserve, ..*load }, now)
}

/// As [`judge`] for a call that may use headroom and reserve: up to the node's own limit, beyond our cap by the reserve.
pub(crate) fn judge_emergency(group: &Group, member: &Member, load: &NodeLoad, now: Time) -> (Evaluation, Verdict) {
    let cap = load.cap + f64::from(group.emergency_reserve);
    within(group, member, &NodeLoad { cap, headroom: 0.0, ..*load }, now)
}

/// As [`judge`] without our own limits, cap and headroom. The emergency reserve stays kept.
pub(crate) fn judge_over_limit(group: &Group, member: &Member, load: &NodeLoad, now: Time) -> (Evaluation, Verdict) {
    judge(group, member, &NodeLoad { cap: f64::INFINITY, headroom: 0.0, ..*load }, now)
}

#[inline(always)]
#[allow(clippy::inline_always)] // see `evaluate`
fn within(group: &Group, member: &Member, load: &NodeLoad, now: Time) -> (Evaluation, Verdict) {
    let evaluation = evaluate(load, group.legs_per_call);
    let factor = load.weight_factor * load.score;
    let verdict = if member.draining {
        Verdict::Draining
    } else if member.weight <= 0.0 || !factor.is_finite() || factor <= 0.0 {
        Verdict::ZeroWeight
    } else {
        match load.admission {
            Admission::Closed => Verdict::Closed,
            Admission::Unknown => Verdict::Unknown,
            Admission::Unreachable => Verdict::Unreachable,
            Admission::Open | Admission::Unmeasured if now < load.ejected_until => Verdict::Ejected,
            Admission::Open | Admission::Unmeasured => restraint(group.legs_per_call, load, &evaluation, now),
        }
    };
    (evaluation, verdict)
}

/// What keeps an admitted node from one more call.
#[inline]
fn restraint(legs: u32, load: &NodeLoad, evaluation: &Evaluation, now: Time) -> Verdict {
    if now < load.cooling_until {
        Verdict::Cooling
    } else if load.suspect && load.in_flight > 0 {
        Verdict::Suspect
    } else if !evaluation.eligible {
        Verdict::Full
    } else if !within_session_rate(load, legs) {
        Verdict::RateLimited
    } else if count(load.requests_last_second) >= REQUESTS_FOR_NEW_CALLS * share(load) {
        Verdict::RequestBudget
    } else {
        Verdict::Eligible
    }
}

/// `FreeSWITCH` admits `N − 1` sessions a second; our part of them is `share`. A lone call always goes (a small share of
/// a small limit would otherwise never admit one), except where the node admits nobody.
fn within_session_rate(load: &NodeLoad, legs: u32) -> bool {
    let limit = load.sessions_per_second.filter(|limit| limit.is_finite()).unwrap_or(DEFAULT_SESSIONS_PER_SECOND);
    let admitted = (limit - 1.0).max(0.0);
    if load.legs_last_second == 0 {
        return admitted >= 1.0;
    }
    count(load.legs_last_second) + f64::from(legs.max(1)) <= admitted * share(load)
}

/// Whether a request other than a new call's INVITE may go to the node. `essential`: ACK, BYE, CANCEL or PRACK, which
/// always may, since holding them back would only make more requests.
pub fn may_send_in_dialog(load: &NodeLoad, essential: bool) -> bool {
    essential || count(load.requests_last_second) < REQUESTS_IN_DIALOG * share(load)
}

fn share(load: &NodeLoad) -> f64 {
    if load.share.is_finite() { load.share.clamp(0.0, 1.0) } else { 0.0 }
}

#[allow(clippy::cast_precision_loss)] // rates are far below 2^53
fn count(total: u64) -> f64 {
    total as f64
}
