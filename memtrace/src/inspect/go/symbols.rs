//! Addresses by name, from `.symtab`, which `go build -ldflags=-s` and `strip` leave out.

use object::elf::{SHT_STRTAB, SHT_SYMTAB, STT_GNU_IFUNC};

use crate::inspect::{InspectError, elf::Elf};

/// Most bytes of names and of symbols that are searched: those of the largest programs have some tens of MB.
const MOST: u64 = 1 << 30;

/// The addresses of variables and functions by name, in the order of `names`, before the load bias; `None` for a name that is not there.
///
/// # Errors
///
/// Where a name has several addresses, or the table is broken.
pub fn find<const N: usize>(
    elf: &mut Elf,
    names: [&str; N],
) -> Result<[Option<u64>; N], InspectError> {
    let mut found = [None; N];
    let Some(table) = elf.sections_of(SHT_SYMTAB).next() else {
        return Ok(found);
    };
    let strings = elf
        .nth_section(table.link)
        .filter(|section| section.kind == SHT_STRTAB)
        .ok_or("its symbols have no names")?;
    if table.size.max(strings.size) > MOST {
        return Err("its table of symbols is larger than any that is known".into());
    }
    let mut twice = None;
    elf.named(table, strings, &names, |name, symbol| {
        if let Some(slot) = found.get_mut(name)
            && symbol.kind != STT_GNU_IFUNC
        {
            if slot.is_some_and(|earlier| earlier != symbol.address) {
                twice = names.get(name);
            }
            *slot = Some(symbol.address);
        }
    })?;
    match twice {
        Some(name) => Err(format!("it has several symbols {name}").into()),
        None => Ok(found),
    }
}
