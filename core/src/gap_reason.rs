//! [`GapReason`]: why sequences have no events.

use rkyv::{Archive, Serialize};

use crate::Described;

/// Why a device's sequences have no events. It travels as its code (WIRE.md) and is stored by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Described)]
#[rkyv(compare(PartialEq), derive(Debug))]
#[non_exhaustive]
pub enum GapReason {
    /// Code 1: the outbox was full.
    OutboxFull,
    /// Code 2: the device was reset, and what it held is lost.
    DeviceReset,
    /// Code 3: the host was restored to a state from before it told the device to forget.
    HostRestored,
    /// Code 4: the event was larger than any batch, or could not be archived at all.
    Unarchivable,
    /// A code of a later version.
    Other(u8),
}

impl From<u8> for GapReason {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::OutboxFull,
            2 => Self::DeviceReset,
            3 => Self::HostRestored,
            4 => Self::Unarchivable,
            other => Self::Other(other),
        }
    }
}

impl From<GapReason> for u8 {
    fn from(reason: GapReason) -> Self {
        match reason {
            GapReason::OutboxFull => 1,
            GapReason::DeviceReset => 2,
            GapReason::HostRestored => 3,
            GapReason::Unarchivable => 4,
            GapReason::Other(code) => code,
        }
    }
}

impl From<&ArchivedGapReason> for GapReason {
    fn from(archived: &ArchivedGapReason) -> Self {
        match archived {
            ArchivedGapReason::OutboxFull => Self::OutboxFull,
            ArchivedGapReason::DeviceReset => Self::DeviceReset,
            ArchivedGapReason::HostRestored => Self::HostRestored,
            ArchivedGapReason::Unarchivable => Self::Unarchivable,
            ArchivedGapReason::Other(code) => Self::Other(*code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_reason() {
        for code in 0..=u8::MAX {
            assert_eq!(u8::from(GapReason::from(code)), code);
        }
    }
}
