//! The event store, through its public interface alone.
#![cfg(feature = "store")]

mod absent;
mod as_of;
mod backing_up;
mod backward;
mod concurrent;
mod consumers;
mod damage;
mod defects;
mod devices;
mod expecting;
mod folding;
mod forgetting;
mod formats;
mod growth;
mod hostile;
mod killed;
mod limits;
mod log;
mod model;
mod opening;
mod pinning;
mod processing;
mod retaining;
mod salvaging;
#[cfg(feature = "encryption")]
mod sealing;
mod second_process;
#[cfg(feature = "notify")]
mod subscribing;
mod time;
mod verifying;
mod views;
#[cfg(feature = "notify")]
mod watching;
mod whole;

use rkyv::{Archive, Serialize};
use varve_core::{
    Absence, Batch, BatchWriter, Channel, Config, DescriptorHash, DeviceBatch, DeviceId, DeviceSequence,
    Durability, Epoch, Event, Lane, ReadError, StreamBinding, StreamId, TimeColumn, Varve,
};

/// A sensor's reading: 19 bytes when archived.
#[derive(Clone, Copy, Debug, PartialEq, Archive, Serialize, Event)]
struct Reading {
    #[event(unit = "Cel")]
    celsius: f32,
    humidity: u8,
    pressure: u32,
    battery: u16,
    uptime: u64,
}

/// What a door tells: text of any length.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Event)]
struct Door {
    open: bool,
    who: String,
}

fn reading(uptime: u64) -> Reading {
    Reading { celsius: 21.5, humidity: 40, pressure: 101_325, battery: 3_300, uptime }
}

fn door(who: &str) -> Door {
    Door { open: true, who: who.into() }
}

/// What is absent, where that is why there is no result.
#[track_caller]
fn absence<T>(result: Result<T, ReadError>) -> Absence {
    match result {
        Err(ReadError::Absent(absence)) => *absence,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("nothing is absent"),
    }
}

/// `cases` at scale 10, a tenth of them by default.
fn scaled(cases: u64) -> u64 {
    let scale = std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    (cases * scale).div_ceil(10)
}

fn relaxed() -> Config {
    let mut config = Config::default();
    config.durability = Durability::Relaxed;
    config
}

fn open(dir: &tempfile::TempDir) -> Varve {
    Varve::with_config(dir.path(), relaxed()).expect("the store opens")
}

fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// A directory in memory where the system has such a place: for what makes very many stores.
fn new_dir_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| new_dir())
}

fn archived<T: Event>(event: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let len = varve_core::archive_into(event, &mut bytes).expect("the buffer is large");
    bytes.truncate(len);
    bytes
}

const DEVICE: DeviceId = DeviceId(0x00c0_ffee_0007);
const LANE: Lane = Lane(0);

/// Seals archived events with their channels and ticks.
fn sealed(lane: Lane, time: TimeColumn, events: &[(u8, u64, Vec<u8>)]) -> Vec<u8> {
    let mut region = vec![0; 8192];
    let mut writer = BatchWriter::new(lane, time);
    for (channel, ticks, event) in events {
        let archive = |out: &mut [u8]| {
            out.get_mut(..event.len())?.copy_from_slice(event);
            Some(event.len())
        };
        writer.try_push(&mut region, Channel(*channel), *ticks, archive).expect("the batch has room");
    }
    let sealed = writer.seal(&mut region);
    region[sealed].to_vec()
}

/// Readings `first` to `first + n`, on channel 0, without times.
fn readings(first: u64, n: u64) -> Vec<u8> {
    let events: Vec<_> = (first..first + n).map(|uptime| (0, 0, archived(&reading(uptime)))).collect();
    sealed(LANE, TimeColumn::None, &events)
}

fn binding<T: Event>(name: &str, id: StreamId) -> StreamBinding<'_> {
    StreamBinding { name, id, descriptor: DescriptorHash::of(T::DESCRIPTOR) }
}

/// A batch of the first epoch.
fn device_batch<'a>(channels: &'a [StreamBinding<'a>], first: u64, batch: &'a [u8]) -> DeviceBatch<'a> {
    DeviceBatch {
        device: DEVICE,
        epoch: Epoch(1),
        first: DeviceSequence(first),
        chain: (first as u32).wrapping_add(1),
        ingest_us: 1_000_000u64.wrapping_add(first),
        channels,
        batch: Batch::new_checked(batch).expect("it was sealed just now"),
    }
}
