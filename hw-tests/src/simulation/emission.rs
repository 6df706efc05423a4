//! The events of simulated devices. Each names its life and its ordinal and follows from them alone, so that every
//! stored byte can be held against the emission.

use core::fmt::Write;

use heapless::String;
use rkyv::{Archive, Serialize};
use varve_core::{BoundedEvent, Event, with::Heapless};
use varve_device_proto::ChannelInfo;

use super::truth::LifeId;

/// One event: which life of a device emitted it, by which channel, and as which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Emission {
    /// The life.
    pub life: LifeId,
    /// By what channel.
    pub channel: EmissionChannel,
    /// How many events the life had offered before.
    pub ordinal: u64,
}

/// The channels of a simulated device, by their index in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EmissionChannel {
    /// Plain data of a first sensor.
    Sample,
    /// Text of any length.
    Note,
    /// Plain data of a second sensor.
    SecondSample,
}

/// What a simulated device announces.
pub(super) static CHANNELS: [ChannelInfo; 3] =
    [ChannelInfo::of::<Sample>(0), ChannelInfo::of::<Note>(0), ChannelInfo::of::<Sample>(1)];

/// Plain data.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Event)]
#[event(stream = "sample")]
pub(super) struct Sample {
    life: u32,
    ordinal: u64,
    #[event(unit = "Cel")]
    reading: f32,
}

/// Text.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Event)]
#[event(stream = "note")]
pub(super) struct Note {
    life: u32,
    ordinal: u64,
    #[rkyv(with = Heapless)]
    text: String<NOTE_LEN_MAX>,
}

impl Emission {
    /// What a life emits as its event of that ordinal.
    pub(super) fn of(life: LifeId, ordinal: u64) -> Self {
        let channel = match scatter(life, ordinal) % 8 {
            0..5 => EmissionChannel::Sample,
            5..7 => EmissionChannel::Note,
            _ => EmissionChannel::SecondSample,
        };
        Self { life, channel, ordinal }
    }

    /// Reads an event of a log back: `None` where no simulated device emits such bytes to that stream.
    pub(super) fn recognise(stream: &str, instance: u8, bytes: &[u8]) -> Option<Self> {
        let (life, ordinal) = match stream {
            Sample::STREAM => {
                varve_core::access::<Sample>(bytes).ok().map(|sample| (sample.life, sample.ordinal))?
            }
            Note::STREAM => varve_core::access::<Note>(bytes).ok().map(|note| (note.life, note.ordinal))?,
            _ => return None,
        };
        let emission = Self::of(LifeId(life.to_native()), ordinal.to_native());
        let mut emitted = [0; EMISSION_LEN_MAX];
        let len = emission.archive(&mut emitted);
        let info = &CHANNELS[emission.channel as usize];
        ((info.name, info.instance) == (stream, instance) && emitted[..len] == *bytes).then_some(emission)
    }

    /// The event as a device archives it, and its length.
    pub(super) fn archive(&self, out: &mut [u8; EMISSION_LEN_MAX]) -> usize {
        let archived = match self.channel {
            EmissionChannel::Note => varve_core::archive_into(&self.note(), out),
            EmissionChannel::Sample | EmissionChannel::SecondSample => {
                varve_core::archive_into(&self.sample(), out)
            }
        };
        archived.expect("the buffer holds the largest of them")
    }

    /// The event of a channel of plain data.
    pub(super) fn sample(&self) -> Sample {
        let reading = (scatter(self.life, self.ordinal) % 4000) as f32 / 100.0;
        Sample { life: self.life.0, ordinal: self.ordinal, reading }
    }

    /// The event of the channel of text.
    pub(super) fn note(&self) -> Note {
        let scattered = scatter(self.life, self.ordinal);
        let mut text = String::new();
        // The longest is 8 bytes of hexadecimal digits and NOTE_PADDING_MAX − 1 dashes.
        let padding = (scattered >> 8) as usize % NOTE_PADDING_MAX;
        let _ = write!(text, "{:-<1$}{2:08x}", "", padding, scattered as u32);
        Note { life: self.life.0, ordinal: self.ordinal, text }
    }
}

/// Spreads emissions over all values, each always over the same (the finaliser of SplitMix64).
fn scatter(life: LifeId, ordinal: u64) -> u64 {
    let mut z = (u64::from(life.0) << 40 ^ ordinal).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The largest emission, archived.
pub(super) const EMISSION_LEN_MAX: usize = <Note as BoundedEvent>::ARCHIVED_LEN_MAX;

const NOTE_LEN_MAX: usize = 48;
const NOTE_PADDING_MAX: usize = 40;

const _: () = assert!(NOTE_PADDING_MAX + 8 <= NOTE_LEN_MAX);
const _: () = assert!(<Sample as BoundedEvent>::ARCHIVED_LEN_MAX <= EMISSION_LEN_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emission_is_recognised_by_its_bytes_and_by_no_others() {
        for ordinal in 0..200 {
            let emission = Emission::of(LifeId(3), ordinal);
            let ChannelInfo { name, instance, .. } = CHANNELS[emission.channel as usize];
            let mut bytes = [0; EMISSION_LEN_MAX];
            let len = emission.archive(&mut bytes);
            let bytes = &mut bytes[..len];
            assert_eq!(Emission::recognise(name, instance, bytes), Some(emission));
            assert_eq!(Emission::recognise("other", instance, bytes), None);
            assert_eq!(Emission::recognise(name, instance ^ 1, bytes), None);
            bytes[len - 1] ^= 1;
            assert_eq!(Emission::recognise(name, instance, bytes), None);
        }
    }
}
