//! `madvise` advice: names, and the slot in which each is counted.
//!
//! Values are those of `include/uapi/asm-generic/mman-common.h`, the same on x86-64 and arm64.

macro_rules! advice {
    ($($name:ident = $value:literal),+ $(,)?) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub const $name: i32 = $value;
        )+

        /// The kernel's name of an advice, or `None` for a value that this version of memtrace does not know.
        #[must_use]
        pub const fn name(advice: i32) -> Option<&'static str> {
            match advice {
                $($value => Some(stringify!($name)),)+
                _ => None,
            }
        }

        /// Every advice with a name, with its value.
        pub const KNOWN: &[(&str, i32)] = &[$((stringify!($name), $value)),+];
    };
}

advice! {
    MADV_NORMAL = 0,
    MADV_RANDOM = 1,
    MADV_SEQUENTIAL = 2,
    MADV_WILLNEED = 3,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    MADV_REMOVE = 9,
    MADV_DONTFORK = 10,
    MADV_DOFORK = 11,
    MADV_MERGEABLE = 12,
    MADV_UNMERGEABLE = 13,
    MADV_HUGEPAGE = 14,
    MADV_NOHUGEPAGE = 15,
    MADV_DONTDUMP = 16,
    MADV_DODUMP = 17,
    MADV_WIPEONFORK = 18,
    MADV_KEEPONFORK = 19,
    MADV_COLD = 20,
    MADV_PAGEOUT = 21,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
    MADV_DONTNEED_LOCKED = 24,
    MADV_COLLAPSE = 25,
    MADV_HWPOISON = 100,
    MADV_SOFT_OFFLINE = 101,
    MADV_GUARD_INSTALL = 102,
    MADV_GUARD_REMOVE = 103,
}

/// Slots for the values 0 to 31, each at its own number.
const LOW_SLOTS: i32 = 32;
/// First value of the second block of advice.
const HIGH_FIRST: i32 = 100;
/// Slots of the second block.
const HIGH_SLOTS: i32 = 4;
/// Values outside both blocks that get a slot of their own, in the order in which they are first seen.
pub const UNKNOWN_SLOTS: u32 = 3;
/// First slot of those.
pub const UNKNOWN_BASE: u32 = (LOW_SLOTS + HIGH_SLOTS) as u32;
/// The slot of unknown values once the others have run out.
pub const OVERFLOW_SLOT: u32 = UNKNOWN_BASE + UNKNOWN_SLOTS;
/// Number of advice slots.
pub const ADVICE_SLOTS: u32 = OVERFLOW_SLOT + 1;

/// The fixed slot of an advice, or `None` for a value outside the fixed blocks.
#[inline(always)]
#[must_use]
pub const fn slot(advice: i32) -> Option<u32> {
    if advice >= 0 && advice < LOW_SLOTS {
        Some(advice as u32)
    } else if advice >= HIGH_FIRST && advice < HIGH_FIRST + HIGH_SLOTS {
        Some((LOW_SLOTS + advice - HIGH_FIRST) as u32)
    } else {
        None
    }
}

/// The slot of an advice that is known to have a fixed one; [`OVERFLOW_SLOT`] otherwise.
#[inline(always)]
#[must_use]
pub const fn slot_of_known(advice: i32) -> u32 {
    match slot(advice) {
        Some(slot) => slot,
        None => OVERFLOW_SLOT,
    }
}

/// The advice of a fixed slot, or `None` for the slots of unknown values.
#[must_use]
pub const fn of_slot(slot: u32) -> Option<i32> {
    let slot = slot as i32;
    if slot < LOW_SLOTS {
        Some(slot)
    } else if slot < LOW_SLOTS + HIGH_SLOTS {
        Some(HIGH_FIRST + slot - LOW_SLOTS)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_advice_has_a_slot_and_comes_back_from_it() {
        for (name_, value) in KNOWN {
            let slot = slot(*value).unwrap();
            assert!(slot < UNKNOWN_BASE);
            assert_eq!(of_slot(slot), Some(*value));
            assert_eq!(name(*value), Some(*name_));
        }
    }

    #[test]
    fn values_without_a_fixed_slot_have_none() {
        for value in [-1, 32, 99, 104, 1000, i32::MIN, i32::MAX] {
            assert_eq!(slot(value), None, "{value}");
        }
        assert_eq!(of_slot(UNKNOWN_BASE), None);
        assert_eq!(of_slot(OVERFLOW_SLOT), None);
    }
}
