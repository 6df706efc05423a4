//! The firmware without a link: events are made up and dropped.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use varve_footprint::Sample;

#[entry]
fn main() -> ! {
    loop {
        black_box(Sample::made_up(black_box(0)));
    }
}
