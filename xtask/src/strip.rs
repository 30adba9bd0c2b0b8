//! What the loader does not need is not shipped.

use anyhow::{Context as _, Result};
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

/// The object without DWARF. `.BTF` and `.BTF.ext` stay, and so do the programs, the maps, and every symbol.
///
/// The relocations of the BTF sections go too. They are for linkers that merge objects; a loader finds the offsets in
/// place already, or works them out from the symbols.
pub fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the linker's output is no ELF file")?;
    let mut has_section_names = false;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = is_dropped(name);
        has_section_names |= matches!(section.data, SectionData::SectionString);
    }
    // LLVM keeps the names of sections and symbols in one table, which this builder cannot write.
    if !has_section_names {
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .context("cannot write the stripped object")?;
    Ok(stripped)
}

fn is_dropped(section: &[u8]) -> bool {
    let target = section.strip_prefix(b".rel");
    section.starts_with(b".debug_")
        || target
            .is_some_and(|target| target.starts_with(b".debug_") || target.starts_with(b".BTF"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dwarf_goes_and_btf_stays() {
        for name in [".debug_info", ".rel.debug_info", ".rel.BTF", ".rel.BTF.ext"] {
            assert!(is_dropped(name.as_bytes()), "{name}");
        }
        for name in [
            ".BTF",
            ".BTF.ext",
            "maps",
            "license",
            ".text",
            ".rel.text",
            ".reltp_btf/x",
        ] {
            assert!(!is_dropped(name.as_bytes()), "{name}");
        }
    }
}
