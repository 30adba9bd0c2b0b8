//! Axes: ranges, ticks, and what stands at them.

const NS: u64 = 1_000_000_000;
/// Steps of time that people count in, ns; beyond them days double.
const TIMES: [u64; 30] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    NS / 1000,
    NS / 500,
    NS / 200,
    NS / 100,
    NS / 50,
    NS / 20,
    NS / 10,
    NS / 5,
    NS / 2,
    NS,
    2 * NS,
    5 * NS,
    10 * NS,
    15 * NS,
    30 * NS,
    60 * NS,
    2 * 60 * NS,
    5 * 60 * NS,
    10 * 60 * NS,
    30 * 60 * NS,
    3600 * NS,
    3 * 3600 * NS,
    6 * 3600 * NS,
    12 * 3600 * NS,
];
const DAY: u64 = 24 * 3600 * NS;
const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// A range with ticks. Wide enough for sums of any two sizes that a file may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The low end.
    pub low: i128,
    /// The high end, above the low one.
    pub high: i128,
    /// From tick to tick; at least 1.
    pub step: i128,
}

impl Axis {
    /// Where the ticks are, lowest first.
    pub fn ticks(self) -> impl Iterator<Item = i128> {
        let first = self.low.div_euclid(self.step) * self.step;
        let places = (0..).map(move |number| first + number * self.step);
        places
            .skip_while(move |&place| place < self.low)
            .take_while(move |&place| place <= self.high)
    }
}

/// An axis of bytes from `low` to `high`, each moved outwards to a tick, with steps of a power of 2 and `most` of them, or one
/// more for each end that was moved. Where both are the same, the axis has one step.
#[must_use]
pub fn byte_ticks(low: i128, high: i128, most: u32) -> Axis {
    let (low, high) = (low.min(high), high.max(low));
    let span = high.saturating_sub(low).unsigned_abs().max(1);
    let least = span.div_ceil(u128::from(most.max(1)));
    let step = least
        .checked_next_power_of_two()
        .and_then(|step| i128::try_from(step).ok())
        .unwrap_or(1 << 126);
    let low = low.div_euclid(step) * step;
    let up = high.rem_euclid(step);
    let high = if up == 0 { high } else { high - up + step };
    Axis {
        low,
        high: high.max(low + step),
        step,
    }
}

/// An axis of time from 0 to `end_ns`, which stays where it is, with at most `most` steps that people count in.
#[must_use]
pub fn time_ticks(end_ns: u64, most: u32) -> Axis {
    let end = end_ns.max(1);
    let fits = |step: u64| end / step <= u64::from(most.max(1));
    let step = TIMES.into_iter().find(|&step| fits(step));
    let step = step.unwrap_or_else(|| {
        let days = (0..15).map(|double| DAY << double);
        days.into_iter()
            .find(|&step| fits(step))
            .unwrap_or(u64::MAX)
    });
    Axis {
        low: 0,
        high: i128::from(end),
        step: i128::from(step),
    }
}

/// A size at a tick, without digits that say nothing: `0`, `64M`, `1.5G`, `-512K`.
#[must_use]
pub fn byte_label(bytes: i128) -> String {
    let size = bytes.unsigned_abs();
    let unit = (0..UNITS.len() - 1)
        .rev()
        .find(|&unit| size >= 1 << (10 * (unit + 1)))
        .map_or(0, |unit| unit + 1);
    let value = size as f64 / (1_u128 << (10 * unit)) as f64;
    let mut text = format!("{value:.3}");
    let kept = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(kept);
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{text}{}", UNITS.get(unit).copied().unwrap_or("E"))
}

/// A time at a tick: `0s`, `250ms`, `2.5s`, `1m30s`, `2h`, `3d12h`.
#[must_use]
pub fn time_label(ns: u64) -> String {
    let (seconds, rest) = (ns / NS, ns % NS);
    if seconds < 60 {
        return match (seconds, rest) {
            (seconds, 0) => format!("{seconds}s"),
            (0, rest) if rest % 1_000_000 == 0 => format!("{}ms", rest / 1_000_000),
            (0, rest) if rest < 1_000_000 => format!("{}us", rest as f64 / 1e3),
            (seconds, rest) => format!("{}s", seconds as f64 + rest as f64 / 1e9),
        };
    }
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let parts = [
        (days, "d"),
        (hours, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let shown = parts.iter().filter(|(count, _)| *count > 0).take(2);
    shown
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

/// When something was, to hundredths of a second below a minute.
#[must_use]
pub fn moment(ns: u64) -> String {
    time_label(ns - ns % (NS / 100))
}

/// From an axis to places, which may run downwards.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The axis.
    pub axis: Axis,
    /// Where its low end is.
    pub low: f64,
    /// Where its high end is.
    pub high: f64,
}

impl Scale {
    /// The place of a value; the nearest end of what is outside.
    #[must_use]
    pub fn at(self, value: i128) -> f64 {
        let Axis { low, high, .. } = self.axis;
        let span = high.saturating_sub(low).max(1);
        let along = value.clamp(low, high.max(low)).saturating_sub(low);
        self.low + (self.high - self.low) * (along as f64 / span as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: i128 = 1 << 20;

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks().map(byte_label).collect()
    }

    #[test]
    fn ticks_of_bytes_are_powers_of_two_apart() {
        assert_eq!(
            labels(byte_ticks(0, 333 * MIB, 6)),
            ["0", "64M", "128M", "192M", "256M", "320M", "384M"]
        );
        assert_eq!(
            labels(byte_ticks(-300 * MIB, 100 * MIB, 4)),
            ["-384M", "-256M", "-128M", "0", "128M"]
        );
        assert_eq!(labels(byte_ticks(0, 0, 5)), ["0", "1"]);
        assert_eq!(
            labels(byte_ticks(0, 1 << 31, 4)),
            ["0", "512M", "1G", "1.5G", "2G"]
        );
    }

    #[test]
    fn ticks_of_time_are_those_that_people_count_in() {
        let labels = |end| -> Vec<String> {
            time_ticks(end, 8)
                .ticks()
                .map(|ns| time_label(ns as u64))
                .collect()
        };
        assert_eq!(
            labels(14_040_192_096),
            ["0s", "2s", "4s", "6s", "8s", "10s", "12s", "14s"]
        );
        assert_eq!(
            labels(150 * NS),
            ["0s", "30s", "1m", "1m30s", "2m", "2m30s"]
        );
        assert_eq!(
            labels(400_000_000),
            [
                "0s", "50ms", "100ms", "150ms", "200ms", "250ms", "300ms", "350ms", "400ms"
            ]
        );
        assert_eq!(
            labels(2 * DAY),
            [
                "0s", "6h", "12h", "18h", "1d", "1d6h", "1d12h", "1d18h", "2d"
            ]
        );
        assert_eq!(time_label(2_500_000_000), "2.5s");
        assert_eq!(time_label(1_500), "1.5us");
    }

    #[test]
    fn a_scale_may_run_downwards() {
        let scale = Scale {
            axis: byte_ticks(0, 256, 4),
            low: 100.0,
            high: 0.0,
        };
        assert_eq!(
            [scale.at(0), scale.at(64), scale.at(256)],
            [100.0, 75.0, 0.0]
        );
        assert_eq!([scale.at(-9), scale.at(999)], [100.0, 0.0]);
    }

    proptest! {
        #[test]
        fn an_axis_holds_its_range_and_has_few_ticks(
            low in any::<i64>(), high in any::<i64>(), more in any::<u64>(), most in 1u32..12,
        ) {
            let (low, high) = (i128::from(low), i128::from(high) + i128::from(more));
            let axis = byte_ticks(low, high, most);
            let ticks: Vec<i128> = axis.ticks().collect();
            prop_assert!(ticks.len() <= most as usize + 3, "{ticks:?}");
            prop_assert!(axis.low <= low.min(high) && axis.high >= high.max(low));
            prop_assert_eq!(ticks.first(), Some(&axis.low));
            prop_assert_eq!(ticks.last(), Some(&axis.high));
            prop_assert!(axis.step.unsigned_abs().is_power_of_two());
            for tick in ticks {
                prop_assert!(byte_label(tick).len() <= 10, "{}", byte_label(tick));
            }
        }

        #[test]
        fn times_have_few_ticks(end in any::<u64>(), most in 1u32..20) {
            let ticks: Vec<i128> = time_ticks(end, most).ticks().collect();
            prop_assert!((1..=most as usize + 1).contains(&ticks.len()), "{ticks:?}");
            prop_assert_eq!(ticks[0], 0);
        }
    }
}
