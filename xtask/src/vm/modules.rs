//! The order in which modules are loaded. Debian's packages have no modules.dep (depmod writes it on installation), so each
//! module's own list of what it needs is read.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use object::{
    Endianness, elf,
    read::elf::{FileHeader as _, SectionHeader as _},
};

/// A module's name, under which others know it: a file's name may have `-` for `_`.
pub fn name(file: &str) -> Option<String> {
    let (stem, suffix) = file.split_once(".ko")?;
    (suffix.is_empty() || suffix.starts_with('.')).then(|| stem.replace('-', "_"))
}

/// The wanted modules and all that they need, each after what it needs. `needs` tells what a module needs directly.
pub fn order(
    wanted: &[String],
    mut needs: impl FnMut(&str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    for module in wanted {
        visit(module, &mut needs, &mut seen, &mut ordered)?;
    }
    Ok(ordered)
}

fn visit(
    module: &str,
    needs: &mut impl FnMut(&str) -> Result<Vec<String>>,
    seen: &mut BTreeSet<String>,
    ordered: &mut Vec<String>,
) -> Result<()> {
    if !seen.insert(module.to_owned()) {
        return Ok(());
    }
    for needed in needs(module)? {
        visit(&needed, needs, seen, ordered)?;
    }
    ordered.push(module.to_owned());
    Ok(())
}

/// What a module needs directly, of its `.modinfo` section.
pub fn needs(module: &[u8]) -> Result<Vec<String>> {
    let header = elf::FileHeader64::<Endianness>::parse(module)?;
    let endian = header.endian()?;
    let (_, section) = header
        .sections(endian, module)?
        .section_by_name(endian, b".modinfo")
        .context("a module without .modinfo")?;
    depends(section.data(endian, module)?)
}

/// `depends=a,b` among strings that each end with 0.
fn depends(modinfo: &[u8]) -> Result<Vec<String>> {
    let list = modinfo
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"depends="))
        .context("a module that does not say what it depends on")?;
    ensure!(list.is_ascii(), "a module's name is not ASCII");
    Ok(String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn names_are_those_that_other_modules_use() {
        assert_eq!(name("zram.ko").as_deref(), Some("zram"));
        assert_eq!(name("lzo-rle.ko.xz").as_deref(), Some("lzo_rle"));
        assert_eq!(name("modules.order"), None);
        assert_eq!(name("x.koala"), None);
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let needs = |module: &str| -> Result<Vec<String>> {
            let needs: &[&str] = match module {
                "zram" => &["zsmalloc", "lz4_compress"],
                "lz4" => &["lz4_compress"],
                // A ring would not be loaded by the kernel either; it must not be walked forever.
                "ring" => &["ring"],
                "zsmalloc" | "lz4_compress" => &[],
                _ => bail!("no {module}"),
            };
            Ok(needs.iter().map(ToString::to_string).collect())
        };
        let wanted = ["lz4", "zram", "ring"].map(str::to_owned);
        assert_eq!(
            order(&wanted, needs).unwrap(),
            ["lz4_compress", "lz4", "zsmalloc", "zram", "ring"]
        );
        assert!(order(&["missing".to_owned()], needs).is_err());
    }

    #[test]
    fn needs_are_read_from_modinfo() {
        let modinfo = b"license=GPL\0depends=zsmalloc,lz4-compress\0name=zram\0";
        assert_eq!(depends(modinfo).unwrap(), ["zsmalloc", "lz4_compress"]);
        assert_eq!(depends(b"depends=\0").unwrap(), [""; 0]);
        assert!(depends(b"license=GPL\0").is_err());
        assert!(needs(b"no ELF").is_err());
    }
}
