//! A piece of the process's memory.

use crate::inspect::{InspectError, Memory};

/// Each piece of the runtime's variables that is read is smaller.
const MOST: u32 = 1 << 17;

/// Bytes of a variable, which begin at one of its offsets.
pub struct Block {
    from: u32,
    bytes: Vec<u8>,
}

impl Block {
    /// Reads what lies between two offsets of the variable at `address`, at once.
    pub fn read(
        memory: &dyn Memory,
        address: u64,
        from: u32,
        to: u32,
    ) -> Result<Self, InspectError> {
        let size = to
            .checked_sub(from)
            .filter(|&size| size <= MOST)
            .ok_or("Go's figures lie further apart than in any version")?;
        let mut bytes = vec![0; size as usize];
        let start = address
            .checked_add(u64::from(from))
            .ok_or("Go's figures would lie outside of the memory")?;
        memory
            .read(start, &mut bytes)
            .map_err(InspectError::Memory)?;
        Ok(Self { from, bytes })
    }

    /// The number of 8 bytes at an offset of the variable. `None` where it was not read.
    pub fn word(&self, at: u32) -> Option<u64> {
        let start = at.checked_sub(self.from)? as usize;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// The number of 4 bytes at an offset of the variable. `None` where it was not read.
    pub fn half(&self, at: u32) -> Option<u32> {
        let start = at.checked_sub(self.from)? as usize;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The numbers at several offsets. `None` where one was not read.
    pub fn words<const N: usize>(&self, at: [u32; N]) -> Option<[u64; N]> {
        let mut words = [0; N];
        for (word, at) in words.iter_mut().zip(at) {
            *word = self.word(at)?;
        }
        Some(words)
    }
}
