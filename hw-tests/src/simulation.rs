//! The link, simulated: the real `DeviceLink` against the real `HostLink` under a virtual clock, over lines that lose,
//! double, delay and damage what they carry, with power that fails on either side at any moment, and a judge who knows
//! what really happened.

mod account;
mod coverage;
mod device;
mod emission;
mod fault;
mod gateway;
mod line;
mod log;
mod memory_log;
mod oracle;
mod scenario;
mod store_log;
mod tap;
mod truth;
mod world;

pub use account::{Absence, Account, Content, Cursor, Entry, Gap};
pub use coverage::Coverage;
pub use device::Shelf;
pub use fault::{Fault, FaultCounts, FaultRates};
pub use log::{Binding, Log, Record, RecordPlace, Standing};
pub use memory_log::MemoryLog;
pub use oracle::{Place, Verdict, Violation};
pub use scenario::{Blow, EVENTS_MIN, Plot, Scenario};
pub use store_log::StoreLog;
pub use tap::{NoTap, Tap};
pub use truth::{EpochKey, LifeId};
pub use world::{Failure, World};
