//! UART0, an ARM PL011: received and sent by interrupt, 8 data bits, no parity, one stop bit.

use core::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use cortex_m::peripheral::NVIC;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, pipe::Pipe, waitqueue::AtomicWaker};
use lm3s6965::{Interrupt, interrupt};

use crate::{clock::CORE_HZ, register::Register};

/// Bits a second, both ways.
pub(crate) const BAUD: u32 = 115_200;

/// Starts UART0 and gives its two halves.
///
/// # Panics
/// When called a second time: each half has one owner.
pub(crate) fn open() -> (Receiver, Transmitter) {
    assert!(!OPENED.swap(true, Ordering::AcqRel), "UART0 is already open");
    connect_pins();
    control::CONTROL.write(0);
    control::BAUD_INTEGER.write(BAUD_DIVISOR_64THS / 64);
    control::BAUD_FRACTION.write(BAUD_DIVISOR_64THS % 64);
    control::LINE.write(control::LINE_8_BITS_FIFO);
    control::INTERRUPT_MASK.write(control::RECEIVE_INTERRUPTS);
    control::CONTROL.write(control::ENABLE_BOTH_WAYS);
    // SAFETY: the handler below shares only the statics of this module, each safe to share.
    unsafe { NVIC::unmask(Interrupt::UART0) };
    (Receiver(()), Transmitter(()))
}

/// The half that receives.
pub(crate) struct Receiver(());

impl Receiver {
    /// Waits for bytes and takes what is there, at least one, into the front of `buf`.
    ///
    /// When nobody reads for longer than the buffer and the hardware's FIFO hold, bytes are overrun. The link
    /// then refuses the frame that lacks them, and it is sent again.
    pub(crate) async fn read(&mut self, buf: &mut [u8]) -> usize {
        let len = RECEIVED.read(buf).await;
        control::INTERRUPT_MASK.modify(control::RECEIVE_INTERRUPTS, 0);
        len
    }

    /// As [`read`](Self::read), but takes nothing where there is nothing.
    pub(crate) fn try_read(&mut self, buf: &mut [u8]) -> usize {
        let len = RECEIVED.try_read(buf).unwrap_or(0);
        control::INTERRUPT_MASK.modify(control::RECEIVE_INTERRUPTS, 0);
        len
    }
}

/// The half that sends.
pub(crate) struct Transmitter(());

impl Transmitter {
    /// Waits until all of `bytes` are in the hardware's FIFO.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            poll_fn(Self::poll_room).await;
            control::DATA.write(u32::from(byte));
        }
    }

    fn poll_room(cx: &mut Context<'_>) -> Poll<()> {
        if has_room() {
            return Poll::Ready(());
        }
        ROOM.register(cx.waker());
        control::INTERRUPT_MASK.modify(control::TRANSMIT_INTERRUPT, 0);
        // Room that came between the two looks may not interrupt.
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[interrupt]
fn UART0() {
    receive();
    if has_room() {
        control::INTERRUPT_MASK.modify(0, control::TRANSMIT_INTERRUPT);
        ROOM.wake();
    }
}

/// Moves what the FIFO holds into the buffer. With the buffer full it masks the interrupts of receiving, which
/// stay raised, and leaves the rest in the FIFO; the next read unmasks them.
fn receive() {
    while control::FLAGS.read() & control::RECEIVE_FIFO_EMPTY == 0 {
        if RECEIVED.is_full() {
            control::INTERRUPT_MASK.modify(0, control::RECEIVE_INTERRUPTS);
            return;
        }
        let byte = control::DATA.read() as u8;
        // There is room: only this interrupt writes.
        let _ = RECEIVED.try_write(&[byte]);
    }
}

fn has_room() -> bool {
    control::FLAGS.read() & control::TRANSMIT_FIFO_FULL == 0
}

/// Gives the two pins of port A to the UART.
fn connect_pins() {
    pins::CLOCK_UARTS.modify(pins::UART0, 0);
    pins::CLOCK_PORTS.modify(pins::PORT_A, 0);
    pins::ALTERNATE.modify(pins::RX_AND_TX, 0);
    pins::DIGITAL.modify(pins::RX_AND_TX, 0);
}

/// Holds what comes in while the link is busy: 22 ms at 115,200 baud.
const RECEIVE_BUFFER_LEN: usize = 256;

/// The divisor of the clock, in 64ths, to the nearest.
const BAUD_DIVISOR_64THS: u32 = (CORE_HZ * 4 + BAUD / 2) / BAUD;

static OPENED: AtomicBool = AtomicBool::new(false);
static RECEIVED: Pipe<CriticalSectionRawMutex, RECEIVE_BUFFER_LEN> = Pipe::new();
static ROOM: AtomicWaker = AtomicWaker::new();

/// Registers and bits of the PL011, data sheet section 12.5.
mod control {
    use super::Register;

    macro_rules! register {
        ($name:ident, $offset:literal) => {
            // SAFETY: a register of UART0; none of them makes the hardware touch memory.
            pub(super) const $name: Register = unsafe { Register::at(0x4000_C000 + $offset) };
        };
    }

    register!(DATA, 0x000);
    register!(FLAGS, 0x018);
    register!(BAUD_INTEGER, 0x024);
    register!(BAUD_FRACTION, 0x028);
    register!(LINE, 0x02C);
    register!(CONTROL, 0x030);
    register!(INTERRUPT_MASK, 0x038);

    pub(super) const RECEIVE_FIFO_EMPTY: u32 = 1 << 4;
    pub(super) const TRANSMIT_FIFO_FULL: u32 = 1 << 5;
    pub(super) const LINE_8_BITS_FIFO: u32 = 0b11 << 5 | 1 << 4;
    pub(super) const ENABLE_BOTH_WAYS: u32 = 1 << 9 | 1 << 8 | 1;
    /// The FIFO reached its mark, or holds bytes while the line is quiet.
    pub(super) const RECEIVE_INTERRUPTS: u32 = 1 << 4 | 1 << 6;
    pub(super) const TRANSMIT_INTERRUPT: u32 = 1 << 5;
}

/// Registers and bits of the clocks and pins that UART0 needs, data sheet sections 6.5 and 8.5.
mod pins {
    use super::Register;

    // SAFETY: run-mode clock gating of the UARTs.
    pub(super) const CLOCK_UARTS: Register = unsafe { Register::at(0x400F_E104) };
    // SAFETY: run-mode clock gating of the GPIO ports.
    pub(super) const CLOCK_PORTS: Register = unsafe { Register::at(0x400F_E108) };
    // SAFETY: alternate functions of port A.
    pub(super) const ALTERNATE: Register = unsafe { Register::at(0x4000_4420) };
    // SAFETY: digital enable of port A.
    pub(super) const DIGITAL: Register = unsafe { Register::at(0x4000_451C) };

    pub(super) const UART0: u32 = 1 << 0;
    pub(super) const PORT_A: u32 = 1 << 0;
    pub(super) const RX_AND_TX: u32 = 0b11;
}
