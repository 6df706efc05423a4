//! The two types of events that simulated devices emit. Nothing else in the daemon knows them: what prints them
//! reads the descriptors that came with them.

use rkyv::{Archive, Serialize};
use varve_core::{Described, Event, with::Heapless};

/// What a sensor measures, at a steady rate.
#[derive(Archive, Serialize, Event, Debug, Clone, PartialEq)]
#[event(stream = "demo.climate")]
pub(crate) struct Climate {
    #[event(doc = "how many events the device offered before this one")]
    pub(crate) nth: u64,
    #[event(unit = "Cel")]
    pub(crate) temperature: f32,
    #[event(unit = "%")]
    pub(crate) humidity: f32,
    #[event(unit = "Pa")]
    pub(crate) pressure: u32,
}

/// What happens now and then.
#[derive(Archive, Serialize, Event, Debug, Clone, PartialEq)]
#[event(stream = "demo.notice")]
pub(crate) struct Notice {
    #[event(doc = "how many events the device offered before this one")]
    pub(crate) nth: u64,
    pub(crate) kind: NoticeKind,
}

/// What a [`Notice`] is about.
#[derive(Archive, Serialize, Described, Debug, Clone, PartialEq)]
pub(crate) enum NoticeKind {
    Started {
        #[rkyv(with = Heapless)]
        firmware: heapless::String<16>,
    },
    Door {
        open: bool,
    },
    Alarm {
        code: u16,
        #[rkyv(with = Heapless)]
        text: heapless::String<32>,
    },
}

/// Either of the two.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sample {
    Climate(Climate),
    Notice(Notice),
}

impl Sample {
    /// What a device emits as its `nth` event, from 0: a notice at first and then each [`NOTICE_PERIOD`] events.
    pub(crate) fn nth(nth: u64) -> Self {
        if nth.is_multiple_of(NOTICE_PERIOD) {
            Self::Notice(Notice { nth, kind: NoticeKind::nth(nth / NOTICE_PERIOD) })
        } else {
            let phase = (nth % 4_096) as f32 / 4_096.0 * core::f32::consts::TAU;
            Self::Climate(Climate {
                nth,
                temperature: 21.0 + 4.0 * phase.sin(),
                humidity: 45.0 + 10.0 * phase.cos(),
                pressure: 101_325 + (nth % 512) as u32,
            })
        }
    }
}

impl NoticeKind {
    fn nth(nth: u64) -> Self {
        let kinds = [
            Self::Door { open: nth & 4 == 0 },
            Self::Alarm { code: (nth % 1_000) as u16, text: text("filter \"B\" is due: 5 µm") },
            Self::Door { open: nth & 4 != 0 },
        ];
        match nth {
            0 => Self::Started { firmware: text("demo 1.0") },
            _ => kinds[(nth % kinds.len() as u64) as usize].clone(),
        }
    }
}

/// One event in so many is a notice.
const NOTICE_PERIOD: u64 = 32;

/// `text`, which fits: an event that says nothing would show in the demo's view at once.
fn text<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_says_that_it_started_and_then_mostly_measures() {
        assert!(matches!(Sample::nth(0), Sample::Notice(Notice { kind: NoticeKind::Started { .. }, .. })));
        let notices = (0..3_200).filter(|&nth| matches!(Sample::nth(nth), Sample::Notice(_))).count();
        assert_eq!(notices, 100);
        assert_eq!(text::<32>("filter").as_str(), "filter");
        assert!(matches!(Sample::nth(77), Sample::Climate(Climate { nth: 77, .. })));
    }
}
