//! The number spaces of Varve. Each is a type of its own, so that a place in one is never a place in another.

macro_rules! number_space {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_space! {
    /// The place of an event in the whole log: assigned inside the commit, from 0, without gaps.
    GlobalSequence(u64)
}
number_space! {
    /// The place of an event in its stream, from 0, without gaps.
    StreamSequence(u64)
}
number_space! {
    /// The place of an event among all that a device tried to emit in one epoch and lane, from 0. It is
    /// allotted at the attempt, so a dropped event leaves a hole that a gap accounts for.
    DeviceSequence(u64)
}
number_space! {
    /// Which stream of a name: an order number, a customer, or a device's channel ([`StreamId::of_device`]).
    StreamId(u64)
}
number_space! {
    /// A device: the 56 low bits hold the hash of its chip's unique id, the 8 high bits are zero.
    DeviceId(u64)
}
number_space! {
    /// One unbroken life of a device's memory. The host allots it, from 1; 0 is no epoch.
    Epoch(u32)
}
number_space! {
    /// A class of a device's events with sequences and acknowledgements of its own: 0 to 3.
    Lane(u8)
}
number_space! {
    /// A device's channel: an index into the channel table that it announced.
    Channel(u8)
}

impl DeviceId {
    /// Derives the id from a chip's unique id of any length: the first 56 bits of its SHA-256.
    pub const fn from_chip_id(chip_id: &[u8]) -> Self {
        let hash = crate::sha256::sha256(chip_id);
        Self(u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], 0]))
    }

    /// Whether the value is one that [`DeviceId::from_chip_id`] can give: its 8 high bits are zero.
    pub const fn is_valid(self) -> bool {
        self.0 >> 56 == 0
    }
}

impl StreamId {
    /// The stream of a device's channel: 56 bits of the device's id, then the channel's instance, so that two
    /// thermometers on one board are two streams.
    pub const fn of_device(device: DeviceId, instance: u8) -> Self {
        Self(device.0 << 8 | instance as u64)
    }
}

impl Lane {
    /// How many lanes there are: they travel in 2 bits.
    pub const COUNT: usize = 4;
}

impl DeviceSequence {
    /// The sequence `count` events later, or `None` past the end of the number space.
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_leaves_room_for_the_instance() {
        let device = DeviceId::from_chip_id(b"\x01\x02\x03\x04");
        assert!(device.is_valid());
        assert_ne!(StreamId::of_device(device, 0), StreamId::of_device(device, 1));
        assert_eq!(StreamId::of_device(device, 7).0 >> 8, device.0);
        assert!(!DeviceId(1 << 56).is_valid());
    }
}
