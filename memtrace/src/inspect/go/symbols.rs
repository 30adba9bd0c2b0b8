//! Addresses by name, from `.symtab`, which `go build -ldflags=-s` and `strip` leave out.

use memchr::memmem;
use object::{LittleEndian, elf, read::elf::Sym as _};

use super::elf::{Elf, view};

/// Most bytes of names and of symbols that are searched: those of the largest programs have some tens of MB.
const MOST: u64 = 1 << 30;
/// Most places where a name stands in the string table: one, or some where names share their ends.
const MOST_PLACES: usize = 1 << 10;

/// The addresses of variables and functions by name, in the order of `names`, before the load bias; `None` for a name that is not there.
///
/// Both tables are read in pieces, the names first: so it takes no more memory where there are millions.
///
/// # Errors
///
/// Where a name has several addresses, or the table is broken.
pub fn find<const N: usize>(elf: &mut Elf, names: [&str; N]) -> Result<[Option<u64>; N], String> {
    let Some(table) = elf
        .sections
        .iter()
        .find(|section| section.kind == elf::SHT_SYMTAB)
        .cloned()
    else {
        return Ok([None; N]);
    };
    let strings = elf
        .sections
        .get(table.link as usize)
        .filter(|section| section.kind == elf::SHT_STRTAB)
        .cloned()
        .ok_or("its symbols have no names")?;
    if table.size > MOST || strings.size > MOST {
        return Err("its table of symbols is larger than any that is known".into());
    }
    let places = places(elf, strings.offset, strings.size, &names)?;
    let mut found = [None; N];
    let mut twice = None;
    const SIZE: usize = size_of::<elf::Sym64<LittleEndian>>();
    elf.search(table.offset, table.size, SIZE, |_, piece| {
        for symbol in piece.chunks_exact(SIZE) {
            let symbol: &elf::Sym64<LittleEndian> = view(symbol)?;
            let at = symbol.st_name(LittleEndian);
            let Ok(index) = places.binary_search_by_key(&at, |place| place.0) else {
                continue;
            };
            let Some(&(_, name)) = places.get(index) else {
                continue;
            };
            let kind = symbol.st_type();
            if symbol.is_undefined(LittleEndian)
                || !matches!(kind, elf::STT_OBJECT | elf::STT_FUNC | elf::STT_NOTYPE)
            {
                continue;
            }
            let address = symbol.st_value(LittleEndian);
            if let Some(slot) = found.get_mut(name) {
                if slot.is_some_and(|earlier| earlier != address) {
                    twice = names.get(name);
                }
                *slot = Some(address);
            }
        }
        Ok(())
    })?;
    match twice {
        Some(name) => Err(format!("it has several symbols {name}")),
        None => Ok(found),
    }
}

/// Where each name, with its end, stands in a table of names: offsets, with the name's index, sorted.
pub fn places(
    elf: &mut Elf,
    offset: u64,
    size: u64,
    names: &[&str],
) -> Result<Vec<(u32, usize)>, String> {
    let ended: Vec<Vec<u8>> = names
        .iter()
        .map(|name| [name.as_bytes(), b"\0"].concat())
        .collect();
    let longest = ended.iter().map(Vec::len).max().unwrap_or(0);
    let mut places = Vec::new();
    // The end of the piece before, since a name may lie across.
    let mut text: Vec<u8> = Vec::new();
    elf.search(offset, size, 1, |at, piece| {
        let kept = text.len();
        text.extend_from_slice(piece);
        for (index, name) in ended.iter().enumerate() {
            for place in memmem::find_iter(&text, name) {
                // What lies wholly in the kept part was found before.
                if place + name.len() > kept
                    && let Ok(place) = u32::try_from(at + place as u64 - kept as u64)
                {
                    places.push((place, index));
                }
            }
        }
        if places.len() > MOST_PLACES {
            return Err("its names are of no linker's making".into());
        }
        let keep = text.len().min(longest.saturating_sub(1));
        text.drain(..text.len() - keep);
        Ok(())
    })?;
    places.sort_unstable();
    Ok(places)
}
