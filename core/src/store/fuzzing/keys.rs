//! A store's file of keys.

use crate::store::encryption::key_file::{ENTRY_LEN, HEADER_LEN, Header, check, entries_of};

/// Reads the file and every entry of it; what is read is what would be written.
///
/// # Panics
///
/// Where it is not.
pub fn check_keys(bytes: &[u8]) -> Option<()> {
    let findings = check(bytes).ok()?;
    assert_eq!(Header::parse(bytes).ok()?.to_bytes(), bytes[..HEADER_LEN]);
    let mut passed_over = 0;
    for (slot, entry) in entries_of(&bytes[HEADER_LEN..]) {
        let mut written = Vec::new();
        match entry {
            Some(entry) => entry.emit(&mut written),
            None => passed_over += 1,
        }
        assert!(entry.is_none() || bytes[HEADER_LEN + slot * ENTRY_LEN..].starts_with(&written));
    }
    assert_eq!(findings.len(), passed_over);
    Some(())
}

/// Mends every checksum.
pub fn seal_keys(keys: &mut Vec<u8>) {
    keys.resize(keys.len().max(HEADER_LEN), 0);
    for entry in keys[HEADER_LEN..].chunks_exact_mut(ENTRY_LEN) {
        seal(entry);
    }
    let entries = u32::from_le_bytes([keys[24], keys[25], keys[26], keys[27]]) as usize;
    let entries = entries.checked_mul(ENTRY_LEN).and_then(|len| keys[HEADER_LEN..].get(..len));
    let crc = crc32c::crc32c(entries.unwrap_or_default());
    keys[28..32].copy_from_slice(&crc.to_le_bytes());
    seal(&mut keys[..HEADER_LEN]);
}

/// A file with two entries that were written with the header, and one that was appended. What they wrap opens to nobody.
pub fn sample_keys() -> Vec<Vec<u8>> {
    let mut keys = vec![0x5a; HEADER_LEN + 3 * ENTRY_LEN];
    keys[..8].copy_from_slice(b"VRVK\0\0\x01\0");
    keys[24..28].copy_from_slice(&2u32.to_le_bytes());
    keys[92..HEADER_LEN].fill(0);
    for (slot, head) in [[1, 1, 0, 0], [2, 2, 0, 0], [1, 2, 0, 0]].iter().enumerate() {
        let entry = &mut keys[HEADER_LEN + slot * ENTRY_LEN..][..ENTRY_LEN];
        entry[..4].copy_from_slice(head);
        entry[112..].fill(0);
    }
    seal_keys(&mut keys);
    let empty = {
        let mut keys = keys[..HEADER_LEN].to_vec();
        keys[24..28].fill(0);
        seal_keys(&mut keys);
        keys
    };
    vec![keys, empty]
}

/// Puts the checksum of all before into the last 4 bytes.
fn seal(bytes: &mut [u8]) {
    let (content, checksum) = bytes.split_at_mut(bytes.len() - 4);
    checksum.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
}
