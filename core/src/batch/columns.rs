//! A column in the making: bytes that wait for the batch to be sealed.

use crate::varint::{VARINT_LEN_MAX, write_varint};

/// A column of at most `N` bytes.
#[derive(Clone, Debug)]
pub(super) struct Column<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Column<N> {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets what was pushed after the column was `len` bytes long.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends a varint, or leaves the column as it is and returns `false` where it has no room.
    pub(super) fn try_push_varint(&mut self, value: u64) -> bool {
        let mut varint = [0; VARINT_LEN_MAX];
        write_varint(value, &mut varint).is_some_and(|len| self.try_push(&varint[..len]))
    }

    /// Appends bytes, or leaves the column as it is and returns `false` where it has no room.
    pub(super) fn try_push(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }

    /// The last byte, to be changed in place.
    pub(super) fn last_mut(&mut self) -> Option<&mut u8> {
        self.bytes[..self.len].last_mut()
    }
}
