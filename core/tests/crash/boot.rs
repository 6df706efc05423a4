//! The note in the tail from which the store tells that the machine was started anew.

use std::path::Path;

use varve_core::crc32c;
use varve_disk_shim::Disk;

/// Gives the tail a boot that is none, as if the machine had been started anew since. A torn note stays torn.
pub(crate) fn start_anew(disk: &mut Disk) {
    disk.patch(Path::new("tail"), |tail| {
        let Some(incarnation) = tail.get(INCARNATION..INCARNATION + 8).map(<[u8]>::to_vec) else { return };
        let Some(note) = tail.get_mut(NOTE..NOTE + CRC + 4) else { return };
        let crc_of = |note: &[u8]| crc32c(&[&incarnation, &note[..CRC]].concat()).to_le_bytes();
        if note[CRC..] == crc_of(note) {
            note[..BOOT_ID_LEN].fill(0);
            let crc = crc_of(note);
            note[CRC..].copy_from_slice(&crc);
        }
    });
}

/// Where the store's incarnation stands in the tail's header.
const INCARNATION: usize = 8;

/// Where the note begins: with the boot's id.
const NOTE: usize = 4096;
const BOOT_ID_LEN: usize = 16;

/// Where its CRC stands in it, over the incarnation and what comes before.
const CRC: usize = 20;
