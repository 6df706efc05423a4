//! A log that is broken on purpose: it acknowledges before the commit.

use varve_core::{DescriptorHash, DeviceId};
use varve_device_proto::KnownEpoch;
use varve_hw_tests::simulation::{Account, Log, Record, Standing};

/// A log that lets its records be acknowledged before they are durable.
pub(crate) struct HastyLog<L>(pub(crate) L);

impl<L: Log> Log for HastyLog<L> {
    fn write(&mut self, now_us: u64, records: &[Record]) -> Standing {
        self.0.write(now_us, records);
        Standing::Durable
    }

    fn incarnation(&self) -> u64 {
        self.0.incarnation()
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        self.0.latest_epoch(device)
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.0.knows(descriptor)
    }

    fn flush(&mut self) {
        self.0.flush();
    }

    fn crash(&mut self) {
        self.0.crash();
    }

    fn fork(&self) -> Self {
        Self(self.0.fork())
    }

    fn replace(&mut self) {
        self.0.replace();
    }

    fn account(&self) -> Account {
        self.0.account()
    }
}
