//! The kernel's BTF as aya needs it: for the ids of what programs are attached to, and for nothing else.
//!
//! aya makes an object of each type that it reads, and a kernel has 100,000 of them and more: 15 MiB and 20 ms each time. So it
//! gets to read a BTF in which everything else is a placeholder.

use aya::{Btf as AyaBtf, Endianness};

use super::{
    ProbeError,
    btf::{Btf, Named},
    error::chain,
    floor::RAW,
    hooks::{CALLS, ITERATOR, TRACEPOINTS, function},
};

/// What of the kernel's BTF aya is to know, as BTF.
pub(super) fn reduce(btf: &Btf) -> Vec<u8> {
    let names = names();
    let wanted: Vec<_> = names
        .iter()
        .map(|(named, name)| (*named, name.as_str()))
        .collect();
    btf.only(&wanted)
}

/// Has aya read it.
///
/// # Errors
///
/// Where aya does not understand it.
pub(super) fn for_aya(reduced: &[u8]) -> Result<AyaBtf, ProbeError> {
    AyaBtf::parse(reduced, Endianness::default()).map_err(|error| ProbeError::Load(chain(&error)))
}

/// Everything that a program of memtrace's may be attached to through BTF.
fn names() -> Vec<(Named, String)> {
    let all_calls = RAW.iter().map(|(_, _, name)| *name);
    let tracepoints = TRACEPOINTS
        .iter()
        .map(|(_, name)| *name)
        .chain(all_calls)
        .map(|name| (Named::Typedef, format!("btf_trace_{name}")));
    // The kernel before 6.1 has the function for which there is a tracepoint later.
    let functions = TRACEPOINTS.iter().map(|(_, name)| (*name).to_owned());
    let calls = CALLS.iter().map(|call| function(call.name));
    let iterator = [format!("bpf_iter_{ITERATOR}")];
    tracepoints
        .chain(
            functions
                .chain(calls)
                .chain(iterator)
                .map(|name| (Named::Function, name)),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::probe::btf::VMLINUX;

    #[test]
    fn aya_finds_the_ids_that_it_finds_in_the_whole_btf() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            return;
        }
        let whole = AyaBtf::from_sys_fs().unwrap();
        let reduced = for_aya(&reduce(&Btf::from_kernel().unwrap())).unwrap();
        let mut found = 0;
        for (named, name) in names() {
            let kind = match named {
                Named::Typedef => BtfKind::Typedef,
                Named::Function => BtfKind::Func,
            };
            match whole.id_by_type_name_kind(&name, kind) {
                Ok(id) => {
                    found += 1;
                    assert_eq!(
                        reduced.id_by_type_name_kind(&name, kind).unwrap(),
                        id,
                        "{name}"
                    );
                }
                // In the same words.
                Err(error) => assert_eq!(
                    reduced
                        .id_by_type_name_kind(&name, kind)
                        .unwrap_err()
                        .to_string(),
                    error.to_string()
                ),
            }
        }
        assert!(found > 0);
    }
}
