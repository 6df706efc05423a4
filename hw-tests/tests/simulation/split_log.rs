//! A log that is broken on purpose: the cursor lands in another transaction than the events.

use varve_core::{DescriptorHash, DeviceId};
use varve_device_proto::KnownEpoch;
use varve_hw_tests::simulation::{Account, Log, MemoryLog, Record, Standing};

/// A log whose events are durable a moment before its cursors are.
pub(crate) struct SplitLog {
    log: MemoryLog,
    written: Vec<Record>,
}

impl SplitLog {
    pub(crate) fn new(log: MemoryLog) -> Self {
        Self { log, written: Vec::new() }
    }
}

impl Log for SplitLog {
    fn write(&mut self, _: u64, records: &[Record]) -> Standing {
        let mut after = self.log.fork();
        for record in records {
            after.append(record);
            after.advance(record);
        }
        self.log.adopt_contents(&after);
        self.written.extend_from_slice(records);
        Standing::Volatile
    }

    fn flush(&mut self) {
        for record in std::mem::take(&mut self.written) {
            self.log.advance(&record);
        }
    }

    fn crash(&mut self) {
        self.written.clear();
    }

    fn incarnation(&self) -> u64 {
        self.log.incarnation()
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        self.log.latest_epoch(device)
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.log.knows(descriptor)
    }

    fn fork(&self) -> Self {
        Self::new(self.log.fork())
    }

    fn replace(&mut self) {
        self.log.replace();
    }

    fn account(&self) -> Account {
        self.log.account()
    }
}
