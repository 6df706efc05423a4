//! The task that runs the link: bytes in, bytes out, timers, and the outbox's news.

use embassy_futures::select::{Either3, select3};
use embassy_time::{Instant, TICK_HZ, Timer};
use varve_core::DeviceId;
use varve_device_proto::{DeviceConfig, DeviceEvent, DeviceLink};

use crate::{
    OUTBOX, RING_LEN, SLOTS, chip_id, reset,
    uart::{Receiver, Transmitter},
};

/// Sends what the outbox holds until the host has it, for as long as the board runs.
#[embassy_executor::task]
pub(crate) async fn run(mut receiver: Receiver, mut transmitter: Transmitter) -> ! {
    let mut link = DeviceLink::new(config(), &OUTBOX, now());
    let mut received = [0; RECEIVE_LEN];
    loop {
        transmit(&mut link, &mut receiver, &mut transmitter).await;
        while let Some(event) = link.poll_event() {
            log(event);
        }
        let due = Instant::from_ticks(link.poll_timeout().unwrap_or(u64::MAX));
        let woken = select3(receiver.read(&mut received), OUTBOX.wait_for_news(), Timer::at(due)).await;
        if let Either3::First(len) = woken {
            link.handle_bytes(now(), &received[..len]);
        }
    }
}

/// Sends all that the link has to say now, and hears what comes meanwhile: while the line is busy for long, an
/// acknowledgement would overrun.
async fn transmit(link: &mut BoardLink, receiver: &mut Receiver, transmitter: &mut Transmitter) {
    let mut piece = [0; PIECE_LEN];
    loop {
        let len = link.poll_transmit(now(), &mut piece);
        if len == 0 {
            return;
        }
        transmitter.write(&piece[..len]).await;
        let mut received = [0; RECEIVE_LEN];
        let len = receiver.try_read(&mut received);
        link.handle_bytes(now(), &received[..len]);
    }
}

fn log(event: DeviceEvent) {
    let stats = OUTBOX.stats();
    defmt::info!("{}; {=u64} events offered, {=u64} dropped", event, stats.offered, stats.dropped);
}

fn config() -> DeviceConfig {
    DeviceConfig {
        device: DeviceId::from_chip_id(&chip_id::read()),
        tick_hz: TICK_HZ as u32,
        reset: reset::reason(),
        // The chip has nothing random; how long the start took is what differs most.
        seed: now(),
    }
}

fn now() -> u64 {
    Instant::now().as_ticks()
}

type BoardLink =
    DeviceLink<'static, embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex, RING_LEN, SLOTS>;

/// An acknowledgement and more.
const RECEIVE_LEN: usize = 64;
/// 11 ms of the line.
const PIECE_LEN: usize = 128;

const _: () = assert!(TICK_HZ <= u32::MAX as u64);
