//! The circuit breaker of a cell: a pure decision on outcomes and times.
//! It reads no clock and calls nobody.

/// Share of failures that opens, in percent.
const FAILURES_PERCENT: u32 = 50;
/// Calls in the window below which nothing opens.
const CALLS_MIN: u32 = 20;
/// Seconds that are looked at.
const WINDOW_S: usize = 10;
/// First rest in milliseconds.
const REST_MS: u64 = 5_000;
/// Longest rest in milliseconds.
const REST_MS_MAX: u64 = 300_000;
/// When to try again while another call probes, in milliseconds.
const PROBE_RETRY_MS: u64 = 1_000;

/// Outcomes of the last seconds and what follows from them. Times are milliseconds since the engine's start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    seconds: [Second; WINDOW_S],
    opened: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until_ms: u64,
        rest_ms: u64,
    },
    Probing {
        rest_ms: u64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at_s: u64,
    calls: u32,
    failures: u32,
}

/// How a call was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Like any other.
    Normal,
    /// As the one call that decides whether the breaker closes.
    Probe,
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Too many failures; rests for so many milliseconds.
    Opened(u64),
    /// The probe succeeded.
    Closed,
}

impl Breaker {
    /// Lets a call in, or says in how many milliseconds to try again.
    pub(crate) fn pass(&mut self, now_ms: u64) -> Result<Pass, u64> {
        self.peek(now_ms)?;
        if let State::Open { rest_ms, .. } = self.state {
            self.state = State::Probing { rest_ms };
            return Ok(Pass::Probe);
        }
        Ok(Pass::Normal)
    }

    /// Whether a call would be let in; takes no probe.
    pub(crate) fn peek(&self, now_ms: u64) -> Result<(), u64> {
        match self.state {
            State::Open { until_ms, .. } if now_ms < until_ms => Err(until_ms - now_ms),
            State::Probing { .. } => Err(PROBE_RETRY_MS),
            State::Closed | State::Open { .. } => Ok(()),
        }
    }

    /// Records how a call ended that was let in.
    pub(crate) fn record(&mut self, pass: Pass, failed: bool, now_ms: u64) -> Option<Change> {
        match (pass, self.state) {
            (Pass::Probe, State::Probing { rest_ms }) if failed => {
                Some(self.open(now_ms, rest_ms.saturating_mul(2).min(REST_MS_MAX)))
            }
            (Pass::Probe, State::Probing { .. }) => {
                self.state = State::Closed;
                self.seconds = Default::default();
                Some(Change::Closed)
            }
            (_, State::Closed) => {
                self.count(failed, now_ms / 1_000);
                (failed && self.is_failing(now_ms / 1_000)).then(|| self.open(now_ms, REST_MS))
            }
            // A call that began before the breaker opened says nothing about now.
            (_, State::Open { .. } | State::Probing { .. }) => None,
        }
    }

    /// A probe ended without saying anything about the plugin: the next call probes.
    pub(crate) fn abandon(&mut self, pass: Pass, now_ms: u64) {
        if let (Pass::Probe, State::Probing { rest_ms }) = (pass, self.state) {
            self.state = State::Open { until_ms: now_ms, rest_ms };
        }
    }

    /// How often it opened.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    fn open(&mut self, now_ms: u64, rest_ms: u64) -> Change {
        self.state = State::Open { until_ms: now_ms.saturating_add(rest_ms), rest_ms };
        self.opened = self.opened.saturating_add(1);
        Change::Opened(rest_ms)
    }

    fn count(&mut self, failed: bool, at_s: u64) {
        let slot = usize::try_from(at_s % WINDOW_S as u64).unwrap_or(0);
        let Some(second) = self.seconds.get_mut(slot) else {
            return;
        };
        if second.at_s != at_s {
            *second = Second { at_s, calls: 0, failures: 0 };
        }
        second.calls = second.calls.saturating_add(1);
        second.failures = second.failures.saturating_add(u32::from(failed));
    }

    fn is_failing(&self, now_s: u64) -> bool {
        let window = self.seconds.iter().filter(|second| now_s.saturating_sub(second.at_s) < WINDOW_S as u64);
        let (calls, failures) = window.fold((0_u32, 0_u32), |(calls, failures), second| {
            (calls.saturating_add(second.calls), failures.saturating_add(second.failures))
        });
        calls >= CALLS_MIN && failures.saturating_mul(100) >= calls.saturating_mul(FAILURES_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records outcomes (time in milliseconds, failed); says at which position the breaker opened.
    fn check(outcomes: impl IntoIterator<Item = (u64, bool)>, wanted: Option<usize>) {
        let mut breaker = Breaker::default();
        let opened = outcomes.into_iter().position(|(now_ms, failed)| {
            matches!(breaker.record(Pass::Normal, failed, now_ms), Some(Change::Opened(_)))
        });
        assert_eq!(opened, wanted);
    }

    fn opened_at(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..CALLS_MIN {
            breaker.record(Pass::Normal, true, now_ms);
        }
        breaker
    }

    #[test]
    fn half_of_twenty_calls_within_ten_seconds_open_it() {
        check((0..20).map(|_| (0, true)), Some(19));
        check((0..19).map(|_| (0, true)), None);
        check((0..20).map(|n| (0, n % 2 == 1)), Some(19));
        check((0..100).map(|n| (0, n % 3 == 1)), None);
        check((0..20).map(|n| (n * 500, true)), Some(19));
        check((0..20).map(|n| (n * 600, true)), None);
    }

    #[test]
    fn an_open_breaker_lets_one_probe_in_after_its_rest() {
        let mut breaker = opened_at(1_000);

        assert_eq!(breaker.pass(1_000), Err(5_000));
        assert_eq!(breaker.pass(5_999), Err(1));
        assert_eq!(breaker.peek(6_000), Ok(()));
        assert_eq!(breaker.pass(6_000), Ok(Pass::Probe));
        assert_eq!(breaker.pass(6_000), Err(PROBE_RETRY_MS));
    }

    #[test]
    fn a_good_probe_closes_it_and_forgets_the_past() {
        let mut breaker = opened_at(0);
        breaker.pass(5_000).unwrap();

        assert_eq!(breaker.record(Pass::Probe, false, 5_001), Some(Change::Closed));
        assert_eq!(breaker.pass(5_001), Ok(Pass::Normal));
        assert_eq!(breaker.record(Pass::Normal, true, 5_002), None);
    }

    #[test]
    fn each_bad_probe_doubles_the_rest_up_to_five_minutes() {
        let mut breaker = opened_at(0);
        let mut now_ms = 0;

        let rests: Vec<_> = (0..8)
            .map(|_| {
                now_ms += breaker.pass(now_ms).unwrap_err();
                let pass = breaker.pass(now_ms).unwrap();
                breaker.record(pass, true, now_ms)
            })
            .collect();

        let wanted = [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000];
        assert_eq!(rests, wanted.map(|rest| Some(Change::Opened(rest))));
        assert_eq!(breaker.opened(), 9);
    }

    #[test]
    fn an_abandoned_probe_leaves_its_turn_to_the_next_call() {
        let mut breaker = opened_at(0);
        let pass = breaker.pass(5_000).unwrap();

        breaker.abandon(pass, 5_010);

        assert_eq!(breaker.pass(5_010), Ok(Pass::Probe));
    }

    #[test]
    fn late_outcomes_of_earlier_calls_do_not_move_an_open_breaker() {
        let mut breaker = opened_at(0);

        assert_eq!(breaker.record(Pass::Normal, false, 10), None);
        assert_eq!(breaker.record(Pass::Normal, true, 20), None);
        assert_eq!(breaker.pass(30), Err(4_970));
    }
}
