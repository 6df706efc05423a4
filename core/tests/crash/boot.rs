//! The note in the tail from which the store tells that the machine was started anew.

use std::path::Path;

use varve_core::crc32c;
use varve_disk_shim::Disk;

/// Gives the tail a boot that is none, as if the machine had been started anew since. A torn note stays torn.
pub(crate) fn start_anew(disk: &mut Disk) {
    disk.patch(Path::new("tail"), |tail| {
        if crc_of_note(tail).is_some_and(|crc| tail[NOTE + CRC..][..4] == crc) {
            tail[NOTE..][..BOOT_ID_LEN].fill(0);
            let crc = crc_of_note(tail).expect("the note is there");
            tail[NOTE + CRC..][..4].copy_from_slice(&crc);
        }
    });
}

/// Whether the owner of a tail wrote there since the machine was started.
pub(crate) fn is_of_this_boot(tail: &[u8]) -> bool {
    let is_whole = crc_of_note(tail).is_some_and(|crc| tail[NOTE + CRC..][..4] == crc);
    is_whole && tail[NOTE..][..BOOT_ID_LEN] != [0; BOOT_ID_LEN]
}

/// The CRC that the note has to have; `None` where the tail is too short for one.
fn crc_of_note(tail: &[u8]) -> Option<[u8; 4]> {
    let note = tail.get(NOTE..NOTE + CRC + 4)?;
    Some(crc32c(&[&tail[INCARNATION..][..8], &note[..CRC]].concat()).to_le_bytes())
}

/// Where the store's incarnation stands in the tail's header.
const INCARNATION: usize = 8;

/// Where the note begins: with the boot's id.
const NOTE: usize = 4096;
const BOOT_ID_LEN: usize = 16;

/// Where its CRC stands in it, over the incarnation and what comes before.
const CRC: usize = 20;
