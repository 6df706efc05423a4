//! What a device says of each of its channels.

use varve_core::descriptor::DESCRIPTOR_LEN_MAX;
use varve_core::{DescriptorHash, Event, Lane, is_system_stream};

use crate::message::{CHANNEL_NAME_LEN_MAX, HelloChannel};

/// One row of a device's channel table. The row's index is the channel's number.
///
/// ```
/// use varve_device_proto::ChannelInfo;
///
/// static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<u32>(0), ChannelInfo::of::<f32>(0).named("pressure")];
/// assert_eq!((CHANNELS[0].name, CHANNELS[1].name), ("u32", "pressure"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// The stream that the events go to: 1 to 64 bytes, which do not begin with `varve.`.
    pub name: &'static str,
    /// Tells channels of one name apart: two thermometers on one board are two streams.
    pub instance: u8,
    /// The lane of the events. One lane is in use: 0.
    pub lane: Lane,
    /// What the archived bytes mean. Empty if `external`.
    pub descriptor: &'static [u8],
    /// Names the descriptor.
    pub descriptor_hash: DescriptorHash,
    /// The descriptor takes no room in the device: it comes to the store by another way.
    pub external: bool,
}

impl ChannelInfo {
    /// A channel of events of type `T` to the stream that the type names.
    ///
    pub const fn of<T: Event>(instance: u8) -> Self {
        Self {
            name: T::STREAM,
            instance,
            lane: Lane(0),
            descriptor: T::DESCRIPTOR,
            descriptor_hash: T::DESCRIPTOR_HASH,
            external: false,
        }
    }

    /// The same channel to the stream of this name.
    pub const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same channel without its descriptor in the device's memory.
    pub const fn external(self) -> Self {
        Self { descriptor: &[], external: true, ..self }
    }

    /// Panics where the row cannot travel.
    pub(crate) const fn check(&self) {
        let name_len = self.name.len();
        assert!(0 < name_len && name_len <= CHANNEL_NAME_LEN_MAX, "a stream's name has 1 to 64 bytes");
        assert!(!is_system_stream(self.name), "streams whose names begin with `varve.` are the store's own");
        assert!(self.descriptor.len() <= DESCRIPTOR_LEN_MAX, "a descriptor has at most 4,096 bytes");
        assert!(self.lane.0 == Lane(0).0, "one lane is in use: 0");
    }

    /// The row as it travels.
    pub(crate) const fn announced(&self) -> HelloChannel<'static> {
        HelloChannel {
            name: self.name,
            instance: self.instance,
            lane: self.lane,
            flags: if self.external { HelloChannel::EXTERNAL } else { 0 },
            descriptor: self.descriptor_hash.0,
        }
    }
}

const _: () = assert!(DESCRIPTOR_LEN_MAX <= u16::MAX as usize);
