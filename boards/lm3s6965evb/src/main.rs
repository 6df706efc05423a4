//! Firmware for the Stellaris LM3S6965 evaluation kit. It reads a thermometer and watches doors, all made up, and
//! streams what happens over UART0.
#![no_std]
#![no_main]

mod chip_id;
mod clock;
mod halt;
mod link;
mod register;
mod reset;
mod time;
mod uart;

use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_time::{Duration, Instant, Ticker};
use varve_board_events::{DoorOpened, Temperature};
use varve_core::TimeColumn;
use varve_device_proto::{ChannelInfo, Outbox};

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let core = cortex_m::Peripherals::take().expect("nobody took them before");
    clock::start();
    time::start(core.SYST);
    let (receiver, transmitter) = uart::open();
    spawner.spawn(link::run(receiver, transmitter).expect("one link"));
    spawner.spawn(read_thermometer().expect("one thermometer"));
    spawner.spawn(watch_doors().expect("one watch"));
}

/// Readings are many: one that finds no room is dropped, and becomes part of a gap.
#[embassy_executor::task]
async fn read_thermometer() {
    let readings = OUTBOX.channel::<Temperature>(TEMPERATURE).expect("the table has this type there");
    let mut ticker = Ticker::every(Duration::from_hz(READINGS_PER_SECOND));
    for reading in 0.. {
        ticker.next().await;
        if readings.try_push(Instant::now().as_ticks(), &Temperature::made_up(reading)).is_err() {
            defmt::debug!("reading {=u32} found no room", reading);
        }
    }
}

/// Doors are few, and each opening counts: it waits for room.
#[embassy_executor::task]
async fn watch_doors() {
    let openings = OUTBOX.channel::<DoorOpened>(DOOR_OPENED).expect("the table has this type there");
    let mut ticker = Ticker::every(Duration::from_hz(OPENINGS_PER_SECOND));
    for opening in 0.. {
        ticker.next().await;
        let opened = DoorOpened::made_up(opening);
        openings
            .push(Instant::now().as_ticks(), &opened)
            .await
            .expect("its name is no longer than its type allows");
    }
}

type BoardOutbox = Outbox<CriticalSectionRawMutex, RING_LEN, SLOTS>;

static OUTBOX: BoardOutbox = Outbox::new(&CHANNELS, TimeColumn::Delta);

static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<Temperature>(0), ChannelInfo::of::<DoorOpened>(0)];
/// The channel of [`Temperature`], an index into the table.
const TEMPERATURE: usize = 0;
/// The channel of [`DoorOpened`].
const DOOR_OPENED: usize = 1;

/// How long the gateway may be away, in bytes: about a second at the rates below.
const RING_LEN: usize = 4096;
/// Batches and gaps that the outbox holds at once.
const SLOTS: usize = 16;

const READINGS_PER_SECOND: u64 = 200;
const OPENINGS_PER_SECOND: u64 = 20;
