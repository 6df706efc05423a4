//! The firmware with a link, in the small profile. Nothing moves the bytes: a port's driver is no part of the cost.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m::singleton;
use cortex_m_rt::entry;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use varve_core::{DeviceId, TimeColumn};
use varve_device_proto::{ChannelInfo, DeviceConfig, DeviceLink, Outbox, ResetReason};
use varve_footprint::Sample;

#[entry]
fn main() -> ! {
    // Made here, not as a static's value: then flash need not hold its zeros.
    let outbox: &'static _ =
        singleton!(: SmallOutbox = Outbox::new(&CHANNELS, TimeColumn::Delta)).expect("taken once");
    let link = singleton!(: Link = DeviceLink::new(CONFIG, outbox, 0)).expect("taken once");
    let received = singleton!(: [u8; RECEIVE_LEN] = [0; RECEIVE_LEN]).expect("taken once");
    let piece = singleton!(: [u8; PIECE_LEN] = [0; PIECE_LEN]).expect("taken once");
    let samples = outbox.channel::<Sample>(0).expect("the table has this type there");
    loop {
        let now = black_box(0);
        let _ = black_box(samples.try_push(now, &Sample::made_up(black_box(0))));
        link.handle_bytes(now, black_box(received));
        let len = link.poll_transmit(now, piece);
        black_box(&piece[..len]);
        black_box(link.poll_event());
        black_box(link.poll_timeout());
    }
}

type SmallOutbox = Outbox<CriticalSectionRawMutex, RING_LEN, SLOTS>;
type Link = DeviceLink<'static, CriticalSectionRawMutex, RING_LEN, SLOTS>;

static CHANNELS: [ChannelInfo; 1] = [ChannelInfo::of::<Sample>(0)];

const CONFIG: DeviceConfig = DeviceConfig {
    device: DeviceId::from_chip_id(b"footprint"),
    tick_hz: 1_000_000,
    reset: ResetReason::Unknown,
    seed: 0,
};

const RING_LEN: usize = 4096;
const SLOTS: usize = 16;
const RECEIVE_LEN: usize = 64;
const PIECE_LEN: usize = 128;
