//! A device's id as people read it.

use std::fmt;

use varve_core::DeviceId;

/// A device's id, shown as 14 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceName(pub(crate) DeviceId);

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}", self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_56_bits() {
        assert_eq!(DeviceName(DeviceId(0x0a)).to_string(), "0000000000000a");
    }
}
