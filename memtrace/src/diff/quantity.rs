//! A number of two captures, and what is to be said of the difference.

use serde::{Deserialize, Serialize};

/// Up to so many bytes, two runs of one program differ without a reason. Of four pairs of such runs (Go, glibc, jemalloc, Node.js;
/// 3 to 6 s, 200 to 330 MB), RSS and what the causes moved differed by up to 224 KiB and 0.1 %; what `mmap` and `munmap` were
/// asked for, once by half.
pub const SMALL_BYTES: i64 = 256 << 10;
/// The same for counts: calls and collections; those pairs differed by up to 4.
pub const SMALL_COUNT: i64 = 4;
/// The same in parts of the larger number: one in so many.
pub const SMALL_PART: i64 = 100;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A count.
    Count,
}

impl Unit {
    const fn small(self) -> i64 {
        match self {
            Self::Bytes => SMALL_BYTES,
            Self::Count => SMALL_COUNT,
        }
    }
}

/// What is to be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// There is none.
    Equal,
    /// There is one, and two runs of the same program differ by as much; or the figures are sampled, and it is within their bound.
    Small,
    /// There is one.
    Changed,
    /// At least one side does not know the number.
    NotComparable,
}

/// A number of two captures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quantity {
    /// Of A; `null` where it does not know.
    pub a: Option<i64>,
    /// Of B.
    pub b: Option<i64>,
    /// B less A; `null` where one of them does not know.
    pub change: Option<i64>,
    /// Per second of capture, where the two captures last differently long, and the number grows with time: then these are what is
    /// judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<PerSecond>,
    /// What is to be said of the difference.
    pub judged: Judged,
}

/// A number per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PerSecond {
    /// Of A.
    pub a: Option<f64>,
    /// Of B.
    pub b: Option<f64>,
    /// B less A.
    pub change: Option<f64>,
}

/// How long the two captures lasted, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds {
    /// A.
    pub a: f64,
    /// B.
    pub b: f64,
}

impl Quantity {
    /// A level, such as RSS: time has nothing to do with it. `bound`: how far the two together may be off.
    #[must_use]
    pub fn level(a: Option<i64>, b: Option<i64>, unit: Unit, bound: u64) -> Self {
        let change = change(a, b);
        let judged = match (a, b, change) {
            (Some(a), Some(b), Some(change)) => {
                let larger = a.unsigned_abs().max(b.unsigned_abs());
                let small = (larger / SMALL_PART.unsigned_abs())
                    .max(unit.small().unsigned_abs())
                    .max(bound);
                judge(change == 0, change.unsigned_abs() <= small)
            }
            _ => Judged::NotComparable,
        };
        Self {
            a,
            b,
            change,
            per_second: None,
            judged,
        }
    }

    /// A number that grows with time, such as calls: compared per second where `seconds` are given.
    #[must_use]
    pub fn grown(a: Option<i64>, b: Option<i64>, unit: Unit, seconds: Option<Seconds>) -> Self {
        let Some(seconds) = seconds else {
            return Self::level(a, b, unit, 0);
        };
        let rate = |value: Option<i64>, seconds: f64| Some(value? as f64 / seconds);
        let (rate_a, rate_b) = (rate(a, seconds.a), rate(b, seconds.b));
        let per_second = PerSecond {
            a: rate_a,
            b: rate_b,
            change: rate_a.zip(rate_b).map(|(a, b)| b - a),
        };
        let judged = match (rate_a, rate_b, per_second.change) {
            (Some(a), Some(b), Some(change)) => {
                let larger = a.abs().max(b.abs());
                let floor = unit.small() as f64 / seconds.a.max(seconds.b);
                let small = (larger / SMALL_PART as f64).max(floor);
                judge(change == 0.0, change.abs() <= small)
            }
            _ => Judged::NotComparable,
        };
        Self {
            a,
            b,
            change: change(a, b),
            per_second: Some(per_second),
            judged,
        }
    }

    /// Whether there is something to say about it.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.judged == Judged::Changed
    }

    /// Whether neither side knows it, or it is 0 in both.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        [self.a, self.b]
            .into_iter()
            .flatten()
            .all(|value| value == 0)
    }
}

/// A number beyond any memory or count is none that can be compared.
fn change(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    // So that the change from B to A can be told too.
    b?.checked_sub(a?).filter(|&change| change != i64::MIN)
}

const fn judge(is_equal: bool, is_small: bool) -> Judged {
    if is_equal {
        Judged::Equal
    } else if is_small {
        Judged::Small
    } else {
        Judged::Changed
    }
}

/// A number that the file holds without a sign; `None` where it is beyond any memory or count.
#[must_use]
pub fn signed(value: Option<u64>) -> Option<i64> {
    i64::try_from(value?).ok()
}
