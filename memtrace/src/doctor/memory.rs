//! The host's memory settings: what turns a touch into 2 MiB, and what takes pages back.

use super::{
    Check, Files, Section, Text,
    files::{chosen, field},
};
use crate::text::format::size;

const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const KSM: &str = "/sys/kernel/mm/ksm";

pub(super) fn checks(files: &Files) -> Vec<Check> {
    let mut checks = huge_pages(files);
    checks.extend([khugepaged(files), ksm(files), swap(files), zram(files)]);
    checks.extend([zswap(files), swappiness(files), ram(files)]);
    checks
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Section::Memory, id, title)
}

/// A choice, or a plain value.
fn setting(files: &Files, check: Check, path: &str, note: impl Fn(&str) -> &'static str) -> Check {
    match files.read(path) {
        Text::Here(text) => {
            let value = chosen(&text).unwrap_or(&text);
            check.value(value).info(format!("{value}{}", note(value)))
        }
        Text::Absent => check.info("not in this kernel"),
        Text::Unreadable(reason) => check.unknown(format!("cannot be read: {reason}")),
    }
}

fn huge_pages(files: &Files) -> Vec<Check> {
    let enabled = setting(
        files,
        check("thp_enabled", "huge pages (THP)"),
        &format!("{THP}/enabled"),
        |value| match value {
            "always" => ": a first touch may bring 2 MiB",
            "madvise" => ": only where a program asks by MADV_HUGEPAGE",
            "never" => ", unless MADV_COLLAPSE asks",
            _ => "",
        },
    );
    let plain =
        |id, title, name| setting(files, check(id, title), &format!("{THP}/{name}"), |_| "");
    vec![
        enabled,
        plain("thp_defrag", "THP defrag", "defrag"),
        plain("thp_shmem", "THP of shmem", "shmem_enabled"),
        sizes(files),
        // Since 6.12: huge pages that hold mostly zeros are split under pressure.
        plain(
            "thp_shrink_underused",
            "THP shrink_underused",
            "shrink_underused",
        ),
    ]
}

/// Sizes of huge pages that have a setting of their own, since 6.8.
fn sizes(files: &Files) -> Check {
    let check = check("thp_sizes", "THP by size");
    let mut sizes: Vec<(u64, String)> = files
        .list(THP)
        .iter()
        .filter_map(|name| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            let text = files.read(&format!("{THP}/{name}/enabled"));
            let text = text.here()?;
            Some((kib.parse().ok()?, chosen(text).unwrap_or(text).to_owned()))
        })
        .collect();
    if sizes.is_empty() {
        return check.info("no setting by size (before Linux 6.8), or no huge pages");
    }
    sizes.sort();
    let on: Vec<String> = sizes
        .iter()
        .filter(|(_, choice)| choice != "never")
        .map(|(kib, choice)| format!("{} {choice}", size(kib << 10)))
        .collect();
    let all: Vec<String> = sizes
        .iter()
        .map(|(kib, choice)| format!("{kib}kB={choice}"))
        .collect();
    let check = check.value(all.join(" "));
    if on.is_empty() {
        check.info(format!("all {} sizes never", sizes.len()))
    } else if on.len() == sizes.len() {
        check.info(on.join(", "))
    } else {
        check.info(format!("{}; all others never", on.join(", ")))
    }
}

/// Settings by name; those that a kernel has not are left out.
fn several(files: &Files, folder: &str, names: &[&str]) -> Option<String> {
    let values: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let text = files.read(&format!("{folder}/{name}"));
            let text = text.here()?;
            Some(format!("{name}={}", chosen(text).unwrap_or(text)))
        })
        .collect();
    (!values.is_empty()).then(|| values.join(" "))
}

fn khugepaged(files: &Files) -> Check {
    let names = [
        "max_ptes_none",
        "max_ptes_swap",
        "max_ptes_shared",
        "pages_to_scan",
        "scan_sleep_millisecs",
        "alloc_sleep_millisecs",
        "defrag",
    ];
    let check = check("khugepaged", "khugepaged");
    match several(files, &format!("{THP}/khugepaged"), &names) {
        Some(values) => check.value(&values).info(values),
        None => check.info("not in this kernel"),
    }
}

fn ksm(files: &Files) -> Check {
    let check = check("ksm", "KSM");
    match files.read(&format!("{KSM}/run")) {
        Text::Here(run) => {
            let check = check.value(&run);
            match run.as_str() {
                "0" => check.info("run=0: off"),
                "1" => check.info(format!(
                    "run=1: merges pages; {}",
                    several(
                        files,
                        KSM,
                        &["pages_to_scan", "sleep_millisecs", "use_zero_pages"]
                    )
                    .unwrap_or_default()
                )),
                "2" => check.info("run=2: off, and merged pages were taken apart"),
                other => check.info(format!("run={other}")),
            }
        }
        Text::Absent => check.info("not in this kernel"),
        Text::Unreadable(reason) => check.unknown(format!("cannot be read: {reason}")),
    }
}

fn swap(files: &Files) -> Check {
    let check = check("swap", "swap");
    let Text::Here(text) = files.read("/proc/swaps") else {
        return check.info("not in this kernel: anonymous memory is never reclaimed");
    };
    // `Filename Type Size Used Priority`, in KiB.
    let devices: Vec<String> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next()?, words.next()?);
            let kib = words.next()?.parse::<u64>().ok()?;
            let used = words.next()?.parse::<u64>().ok()?;
            let priority = words.next()?;
            Some(format!(
                "{name} ({kind}) {}, {} used, priority {priority}",
                size(kib << 10),
                size(used << 10),
            ))
        })
        .collect();
    let check = check.value(devices.len().to_string());
    if devices.is_empty() {
        check.info("none: anonymous memory is reclaimed only where MADV_FREE gave it back")
    } else {
        check.info(devices.join("; "))
    }
}

fn zram(files: &Files) -> Check {
    let check = check("zram", "zram");
    let devices: Vec<String> = files
        .list("/sys/block")
        .iter()
        .filter(|name| name.starts_with("zram"))
        .filter_map(|name| {
            let read = |file: &str| files.read(&format!("/sys/block/{name}/{file}"));
            let bytes = read("disksize").here()?.parse::<u64>().ok()?;
            let algorithm = read("comp_algorithm");
            let algorithm = algorithm.here().and_then(chosen).unwrap_or("unknown");
            Some(if bytes == 0 {
                format!("{name} not in use")
            } else {
                format!("{name} {} {algorithm}", size(bytes))
            })
        })
        .collect();
    if devices.is_empty() {
        check.info("none")
    } else {
        check
            .value(devices.len().to_string())
            .info(devices.join("; "))
    }
}

fn zswap(files: &Files) -> Check {
    setting(
        files,
        check("zswap", "zswap"),
        "/sys/module/zswap/parameters/enabled",
        |value| match value {
            "Y" => ": swapped pages are kept compressed in memory",
            "N" => ": off",
            _ => "",
        },
    )
}

fn swappiness(files: &Files) -> Check {
    setting(
        files,
        check("swappiness", "swappiness"),
        "/proc/sys/vm/swappiness",
        |_| "",
    )
}

fn ram(files: &Files) -> Check {
    let check = check("memory", "memory");
    let meminfo = files.read("/proc/meminfo");
    let kib = |name| {
        let value = field(meminfo.here()?, name)?;
        value.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (Some(total), Some(available)) = (kib("MemTotal"), kib("MemAvailable")) else {
        return check.unknown("/proc/meminfo cannot be read");
    };
    check.value((total << 10).to_string()).info(format!(
        "{}, {} of it available",
        size(total << 10),
        size(available << 10)
    ))
}
