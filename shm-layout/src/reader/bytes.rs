//! Little-endian integers out of a slice. What lies outside reads as zero, like a page never written.

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u64::from_le_bytes(chunk))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u32::from_le_bytes(chunk))
}
