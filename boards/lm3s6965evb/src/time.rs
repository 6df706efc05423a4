//! The time of embassy, from SysTick: microseconds since the start, and wake-ups to the next millisecond.

use core::{cell::RefCell, task::Waker};

use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use crate::clock::CORE_HZ;

/// Starts SysTick. Before this call time stands still.
pub(crate) fn start(mut systick: SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(CYCLES_PER_PERIOD - 1);
    systick.clear_current();
    systick.enable_interrupt();
    systick.enable_counter();
}

struct SysTickDriver {
    state: Mutex<RefCell<State>>,
}

struct State {
    /// Periods that have ended, as far as the interrupt has counted them.
    periods: u64,
    /// When the earliest of the queue wants to be woken, in ticks.
    next_wake: u64,
    queue: Queue,
}

embassy_time_driver::time_driver_impl!(static DRIVER: SysTickDriver = SysTickDriver {
    state: Mutex::new(RefCell::new(State { periods: 0, next_wake: u64::MAX, queue: Queue::new() })),
});

impl Driver for SysTickDriver {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.now_within(cs))
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut state = self.state.borrow_ref_mut(cs);
            if state.queue.schedule_wake(at, waker) {
                state.next_wake = state.next_wake.min(at);
            }
        });
    }
}

impl SysTickDriver {
    fn now_within(&self, cs: CriticalSection<'_>) -> u64 {
        let mut periods = self.state.borrow_ref(cs).periods;
        let mut cycles_left = SYST::get_current();
        // A period may have ended that the interrupt could not count yet. The count is read anew then, since
        // nothing tells whether the first reading came before or after the end.
        if SCB::is_pendst_pending() {
            periods += 1;
            cycles_left = SYST::get_current();
        }
        let cycles = CYCLES_PER_PERIOD - 1 - cycles_left.min(CYCLES_PER_PERIOD - 1);
        periods * TICKS_PER_PERIOD + u64::from(cycles / CYCLES_PER_TICK)
    }

    fn end_period(&self) {
        critical_section::with(|cs| {
            let state = &mut *self.state.borrow_ref_mut(cs);
            state.periods += 1;
            let now = state.periods * TICKS_PER_PERIOD;
            if now >= state.next_wake {
                state.next_wake = state.queue.next_expiration(now);
            }
        });
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    DRIVER.end_period();
}

/// SysTick interrupts so many times a second.
const PERIOD_HZ: u32 = 1_000;
const CYCLES_PER_PERIOD: u32 = CORE_HZ / PERIOD_HZ;
const TICKS_PER_PERIOD: u64 = TICK_HZ / PERIOD_HZ as u64;
const CYCLES_PER_TICK: u32 = CORE_HZ / TICK_HZ as u32;

const _: () = assert!(CYCLES_PER_PERIOD <= 1 << 24, "SysTick counts 24 bits");
const _: () =
    assert!(CYCLES_PER_TICK as u64 * TICK_HZ == CORE_HZ as u64, "a tick is a whole number of cycles");
