//! [`Temperature`]: plain data, often.

use rkyv::{Archive, Serialize};
use varve_core::Event;

/// A thermometer was read.
#[derive(Clone, Copy, Debug, PartialEq, Archive, Serialize, Event)]
#[event(stream = "temperature")]
pub struct Temperature {
    /// How many readings there were before this one, since the board started.
    #[event(doc = "readings before this one, since the board started")]
    pub reading: u32,
    /// The temperature, in degrees Celsius.
    #[event(unit = "Cel", doc = "at the inlet")]
    pub celsius: f32,
    /// The supply while it was read, in volts: below 3.0 the thermometer reads low.
    #[event(unit = "V", doc = "supply during the reading")]
    pub supply: f32,
}

impl Temperature {
    /// What a board without a thermometer reads: a temperature that climbs from 20 °C to 30 °C and starts anew, in
    /// steps of a hundredth.
    pub fn made_up(reading: u32) -> Self {
        let hundredths = (reading % 1_000) as f32;
        let millivolts = (3_300 - reading % 7) as f32;
        Self { reading, celsius: 20.0 + hundredths / 100.0, supply: millivolts / 1_000.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_archived_as_three_numbers() {
        let mut bytes = [0xAA; 12];
        assert_eq!(varve_core::archive_into(&Temperature::made_up(250), &mut bytes), Ok(12));
        #[rustfmt::skip]
        assert_eq!(bytes, [
            0xFA, 0, 0, 0,            // reading 250
            0, 0, 0xB4, 0x41,         // 22.5 °C
            0x48, 0xE1, 0x52, 0x40,   // 3.295 V
        ]);
    }
}
