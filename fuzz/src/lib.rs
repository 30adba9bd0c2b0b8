//! What is asked of every parser of outside bytes. Each function takes any bytes, and panics where a promise is broken.
//!
//! The fuzz targets call them, and so do the property tests in `memtrace/tests/parsers.rs`.

use std::io::{self, Cursor};

use memtrace::{
    export::json,
    probe::{
        btf::{Btf, Named, Shape},
        offsets,
    },
    proc,
    runtime::{Image, Memory, Process, go},
    timeline::{Capture, GoFigures, assemble, read, read_closing},
    view::{
        format::{BAD, BOLD, DIM, GOOD, untrusted},
        replaced, table,
    },
};

/// `/proc/PID/statm`.
pub fn statm(bytes: &[u8]) {
    let _ = proc::statm(bytes);
}

/// `/proc/PID/auxv`.
pub fn auxv(bytes: &[u8]) {
    let _ = proc::class(bytes, 4096);
}

/// `/proc/PID/stat`.
pub fn stat(bytes: &[u8]) {
    if let Some(stat) = proc::stat(bytes) {
        harmless(&stat.comm);
    }
}

/// `/proc/PID/status`.
pub fn status(bytes: &[u8]) {
    let _ = proc::status(bytes);
    if let Some(resident) = proc::resident(bytes) {
        let _ = resident.rss();
    }
}

/// `/proc/PID/smaps_rollup`.
pub fn smaps_rollup(bytes: &[u8]) {
    if let Some(rollup) = proc::smaps_rollup(bytes) {
        for figure in [rollup.rss, rollup.lazy_free, rollup.anon_huge, rollup.swap] {
            assert_eq!(figure % 1024, 0, "the file is in KiB");
        }
    }
}

/// The lines of `/proc/PID/maps`.
pub fn maps(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Some(mapping) = proc::mapping(line) {
            assert!(mapping.start <= mapping.end);
            harmless(&String::from_utf8_lossy(mapping.name));
        }
    }
}

/// `/proc/PID/cmdline`.
pub fn cmdline(bytes: &[u8]) {
    let arguments = proc::cmdline(bytes);
    for argument in &arguments {
        assert!(!argument.contains('\0'));
        harmless(argument);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(arguments.join("\0"), text.trim_end_matches('\0'));
    }
}

/// The kernel's BTF: every question that memtrace asks.
pub fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else {
        return;
    };
    let host = offsets::Host {
        tgid: 1,
        pid_namespace: None,
        wait_for_exec: false,
        possible_cpus: 2,
        online_cpus: 2,
        anon_orders: 1,
    };
    let _ = offsets::config(&btf, host);
    let _ = offsets::approximate(Some(&btf), host);
    let _ = offsets::sampling(&btf).bound_pages(u64::MAX, 2);
    for name in [
        "mm_struct",
        "task_struct",
        "pt_regs",
        "bpf_array",
        "no such",
    ] {
        for member in ["rss_stat", "mm", "orig_ax", "pptrs", "", "no such"] {
            if let Ok(member) = btf.member(name, member)
                && let Shape::Array { element, .. } = btf.shape(member.type_id)
            {
                let _ = btf.shape(element);
            }
        }
        let _ = btf.has_struct(name);
    }
    let _ = btf.has_name("btf_trace_rss_stat");
    let wanted = [
        (Named::Typedef, "btf_trace_rss_stat"),
        (Named::Function, "bpf_iter_task"),
    ];
    assert!(Btf::parse(btf.only(&wanted)).is_ok());
}

/// A capture file or a journal, and the tables that are printed of it.
pub fn capture(bytes: &[u8]) {
    let whole = match (read(bytes), read_closing(bytes)) {
        (Ok(whole), Ok(closing)) => {
            let _ = (whole.is_complete(), closing.is_complete());
            for width in [80, 120] {
                let text = tables(&whole, width);
                assert_eq!(
                    text,
                    tables(&closing, width),
                    "the ticks that are kept are enough"
                );
                plain(&text);
            }
            whole
        }
        (Err(error), Err(same)) => {
            let error = error.to_string();
            assert_eq!(error, same.to_string());
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(error.chars().count() < 1000, "{error}");
            // Another schema needs no position, and the source does not fail here.
            assert!(
                error.contains(" line ") || error.contains("a later memtrace"),
                "{error}"
            );
            return;
        }
        (whole, closing) => panic!("{:?}, and {:?}", whole.err(), closing.err()),
    };
    // Of a journal that is not memtrace's own, anything may come but a panic.
    let last = whole.epoch.clone().into_account();
    let _ = assemble(Cursor::new(bytes), &last, io::sink());
    let mut written = Vec::new();
    json::write(&whole, &mut written).expect("memory takes everything");
    let again = read(&written[..]).expect("what memtrace writes it can read");
    let mut twice = Vec::new();
    json::write(&again, &mut twice).expect("memory takes everything");
    assert_eq!(written, twice);
}

fn tables(capture: &Capture, width: usize) -> String {
    let mut text = String::new();
    for epoch in capture.earlier_epochs.iter().chain([&capture.epoch]) {
        text += &table(&capture.host, epoch, width);
        text += &replaced(epoch.target.pid, &epoch.target.comm);
    }
    text
}

/// Nothing but text, line ends, and memtrace's own styles.
fn plain(text: &str) {
    let mut rest = text.to_owned();
    for style in [BAD, BOLD, DIM, GOOD] {
        rest = rest.replace(&format!("{style}"), "");
        rest = rest.replace(&format!("{style:#}"), "");
    }
    harmless_text(&rest.replace('\n', ""));
}

fn harmless(text: &str) {
    let shown = untrusted(text, 300);
    assert!(shown.chars().count() <= 300);
    harmless_text(&shown);
}

fn harmless_text(text: &str) {
    let bad = |letter: char| letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}');
    assert!(!text.contains(bad), "{text:?}");
}

/// A Go program's executable, mapped as it says itself, with its own bytes as its memory.
pub fn golang(bytes: &[u8]) {
    let program = Program(bytes);
    match go::version(&program) {
        Ok(Some(version)) => assert!((1..=1024).contains(&version.len())),
        Ok(None) => {}
        Err(error) => sentence(&error),
    }
    if let Err(error) = go::has_c(&program) {
        sentence(&error);
    }
    match go::Reader::find(&program) {
        Ok(reader) => {
            harmless(reader.source());
            match reader.read(&program) {
                Ok(figures) => adds_up(figures),
                Err(error) => sentence(&error),
            }
        }
        Err(error) => sentence(&error),
    }
}

/// Whether there are figures in such a program.
pub fn is_golang(bytes: &[u8]) -> bool {
    go::Reader::find(&Program(bytes)).is_ok()
}

fn sentence(error: &str) {
    assert!(!error.is_empty() && error.chars().count() < 1000, "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
}

fn adds_up(figures: GoFigures) {
    let number = |figure: Option<u64>| figure.expect("all of them are had");
    let system = number(figures.heap_sys_bytes);
    assert_eq!(
        system,
        number(figures.heap_inuse_bytes) + number(figures.heap_idle_bytes)
    );
    assert!(figures.heap_released_bytes <= figures.heap_idle_bytes);
    assert!(figures.heap_alloc_bytes <= figures.heap_inuse_bytes);
    assert!(number(figures.sys_bytes) >= system + number(figures.stack_inuse_bytes));
}

/// A process that these bytes are the executable of.
struct Program<'a>(&'a [u8]);

impl Process for Program<'_> {
    fn executable(&self) -> Result<Box<dyn Image>, String> {
        Ok(Box::new(Cursor::new(self.0.to_vec())))
    }

    fn maps(&self) -> Result<Vec<u8>, String> {
        // Both where the seeds want to be, with the access of neither.
        let text = "00400000-00408000 r-xp 00000000 08:02 77   /program\n\
                    00408000-00409000 rw-p 00008000 08:02 77   /program\n";
        Ok(text.into())
    }

    fn environ(&self) -> Result<Vec<u8>, String> {
        Err("there is none".into())
    }

    fn arguments(&self) -> Result<Vec<u8>, String> {
        Err("there are none".into())
    }

    fn file(&self, _: &[u8]) -> Result<Box<dyn Image>, String> {
        Err("there is none".into())
    }
}

impl Memory for Program<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(address & 0x3fff).unwrap_or(0);
        for (byte, from) in buffer.iter_mut().zip(from..) {
            *byte = self.0.get(from).copied().unwrap_or(0);
        }
        Ok(())
    }
}
