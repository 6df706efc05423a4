//! The events that are stored.

use std::fmt;

use clap::ValueEnum;
use rkyv::{Archive, Serialize};
use varve_core::Event;

/// A type of events that every engine stores. Each archives it with rkyv, in the same format.
pub(crate) trait Sample:
    Event<Archived: 'static> + for<'a> Serialize<varvedb::LowSerializer<'a>> + Clone + Send + Sync + 'static
{
    /// Which of the two it is.
    const NAME: SampleName;

    /// How many bytes every archived event has.
    const LEN: usize;

    /// The `n`th event.
    fn generate(n: u64) -> Self;

    /// The field that readers add up.
    fn field(&self) -> u64;

    /// The field of an archived event.
    fn archived_field(archived: &Self::Archived) -> u64;

    /// The field by its place in the bytes, unchecked: the cheapest that a reader can do where an engine lends no
    /// more than bytes.
    fn stored_field(bytes: &[u8]) -> u64;

    /// The sum of the field over many events.
    fn sum(events: &[Self]) -> u64 {
        events.iter().fold(0, |sum, event| sum.wrapping_add(event.field()))
    }

    /// The archived bytes, in a buffer that is used again.
    fn archive_in<'b>(&self, buffer: &'b mut ArchiveBuffer) -> &'b [u8] {
        let len = varve_core::archive_into(self, buffer).expect("a sample fits the buffer");
        &buffer[..len]
    }
}

/// Room for any sample's bytes.
pub(crate) type ArchiveBuffer = [u8; SAMPLE_LEN_MAX];

/// Names a type of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SampleName {
    Sensor,
    Order,
}

/// Plain data.
#[derive(Archive, Serialize, Event, Clone)]
pub(crate) struct Sensor {
    celsius: f32,
    humidity: u8,
    pressure: u32,
    battery: u16,
    uptime: u64,
}

/// Numbers and a text that lies outside of the struct.
#[derive(Archive, Serialize, Event, Clone)]
pub(crate) struct Order {
    number: u64,
    product: String,
    quantity: u32,
    cents: u64,
}

impl Sample for Sensor {
    const NAME: SampleName = SampleName::Sensor;
    const LEN: usize = size_of::<ArchivedSensor>();

    fn generate(n: u64) -> Self {
        Self { celsius: n as f32 / 8.0, humidity: n as u8, pressure: n as u32, battery: n as u16, uptime: n }
    }

    fn field(&self) -> u64 {
        self.uptime
    }

    fn archived_field(archived: &ArchivedSensor) -> u64 {
        archived.uptime.to_native()
    }

    fn stored_field(bytes: &[u8]) -> u64 {
        u64_at(bytes, bytes.len() - 8)
    }
}

impl Sample for Order {
    const NAME: SampleName = SampleName::Order;
    const LEN: usize = PRODUCT_LEN + size_of::<ArchivedOrder>();

    fn generate(n: u64) -> Self {
        Self { number: n, product: format!("Product-{:06}", n % 1_000_000), quantity: 1, cents: n * 100 }
    }

    fn field(&self) -> u64 {
        self.number
    }

    fn archived_field(archived: &ArchivedOrder) -> u64 {
        archived.number.to_native()
    }

    fn stored_field(bytes: &[u8]) -> u64 {
        u64_at(bytes, bytes.len() - size_of::<ArchivedOrder>())
    }
}

impl fmt::Display for SampleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sensor => "sensor",
            Self::Order => "order",
        })
    }
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let field = bytes[place..].first_chunk().expect("the event has its full length");
    u64::from_le_bytes(*field)
}

/// The longest archived event.
pub(crate) const SAMPLE_LEN_MAX: usize = 128;

/// `Product-` and six digits: more than the 8 bytes that would stand in the struct.
const PRODUCT_LEN: usize = 14;

const _: () = assert!(Sensor::LEN == 19 && Order::LEN == 42);
const _: () = assert!(Order::LEN <= SAMPLE_LEN_MAX);
