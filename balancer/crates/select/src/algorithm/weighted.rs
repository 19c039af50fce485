//! The weights of `Weighted`.

/// The weight that `OpenSIPS`' dispatcher gives a `FreeSWITCH` node: `weight × (1 − sessions / max_sessions) × idle / 100`,
/// here in floats and never below 0. `None` where nothing was reported that a weight could be made of.
pub(crate) fn reported_weight(weight: f64, sessions: f64, max_sessions: f64, idle_cpu: Option<f64>) -> Option<f64> {
    let is_known = max_sessions > 0.0 && max_sessions.is_finite() && sessions.is_finite();
    let idle = idle_cpu.filter(|idle| idle.is_finite()).unwrap_or(100.0).clamp(0.0, 100.0);
    is_known.then(|| (weight * (1.0 - sessions / max_sessions) * idle / 100.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let near = |weight: Option<f64>, expected: f64| (weight.unwrap() - expected).abs() < 1e-9;
        assert!(near(reported_weight(100.0, 0.0, 1000.0, Some(99.433)), 99.433));
        assert!(near(reported_weight(1.0, 500.0, 1000.0, Some(99.0)), 0.495));
        assert!(near(reported_weight(70_000.0, 0.0, 1000.0, Some(100.0)), 70_000.0));
        assert!(near(reported_weight(100.0, 250.0, 1000.0, None), 75.0));
        assert_eq!(reported_weight(100.0, 1010.0, 1000.0, Some(100.0)), Some(0.0), "more than full is no wrap");
        assert_eq!(reported_weight(100.0, 0.0, 1000.0, Some(-3.0)), Some(0.0));
        assert_eq!(reported_weight(100.0, 0.0, 0.0, Some(100.0)), None, "unknown");
        assert_eq!(reported_weight(100.0, f64::NAN, 10.0, Some(100.0)), None);
    }
}
