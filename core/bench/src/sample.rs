//! The events that are stored.

use rkyv::{Archive, Serialize};
use varve_core::Event;

/// A type of events that every engine stores. Each archives it with rkyv, in the same format.
pub(crate) trait Sample:
    Event<Archived: 'static> + for<'a> Serialize<varvedb::LowSerializer<'a>>
{
    /// What the table calls it.
    const NAME: &'static str;

    /// The `n`th event.
    fn generate(n: u64) -> Self;

    /// A number that depends on the event's contents, so that a reader must look at them.
    fn digest(archived: &Self::Archived) -> u64;
}

/// Plain data: 19 bytes.
#[derive(Archive, Serialize, Event)]
pub(crate) struct Sensor {
    celsius: f32,
    humidity: u8,
    pressure: u32,
    battery: u16,
    uptime: u64,
}

/// Numbers and a text that lies outside of the struct: 42 bytes.
#[derive(Archive, Serialize, Event)]
pub(crate) struct Order {
    number: u64,
    product: String,
    quantity: u32,
    cents: u64,
}

impl Sample for Sensor {
    const NAME: &'static str = "sensor, 19 B";

    fn generate(n: u64) -> Self {
        Self { celsius: n as f32 / 8.0, humidity: n as u8, pressure: n as u32, battery: n as u16, uptime: n }
    }

    fn digest(archived: &ArchivedSensor) -> u64 {
        archived.uptime.to_native()
    }
}

impl Sample for Order {
    const NAME: &'static str = "order, 42 B";

    fn generate(n: u64) -> Self {
        Self { number: n, product: format!("Product-{:06}", n % 1_000_000), quantity: 1, cents: n * 100 }
    }

    fn digest(archived: &ArchivedOrder) -> u64 {
        archived.number.to_native() + archived.product.len() as u64
    }
}
