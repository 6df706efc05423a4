//! What a damaged store shows.

use std::path::Path;

use varve_core::{
    AppendError, DeviceRecord, GlobalSequence, OpenError, ReadError, StreamId, StreamInfo, Varve, VarveView,
};

use super::blow::Blow;
use super::image::{EVENTS_OF_TURN, LETTERS, TURNS, config, consumer};
use crate::{Door, door};

/// All that a store shows.
#[derive(PartialEq)]
pub(super) struct Whole {
    log: Vec<Vec<u8>>,
    streams: Vec<StreamInfo>,
    devices: Vec<DeviceRecord>,
    consumers: Vec<Option<GlobalSequence>>,
}

impl Whole {
    /// What the undamaged store shows.
    pub(super) fn of_image(dir: &Path) -> Self {
        let whole = Self::of(Varve::with_config(dir, config()).unwrap().view()).unwrap();
        assert_eq!(whole.log.len() as u64, EVENTS_OF_TURN * TURNS);
        whole
    }

    /// Reads everything, or up to what is damaged first.
    fn of(view: &VarveView) -> Result<Self, ReadError> {
        let snapshot = view.snapshot()?;
        let log =
            snapshot.iter_from(GlobalSequence(0))?.map(|event| event.map(|event| event.payload.to_vec()));
        let log = log.collect::<Result<_, _>>()?;
        let consumers = (0..TURNS).map(|turn| view.consumer(&consumer(turn)));
        let consumers = consumers.collect::<Result<_, _>>()?;
        Ok(Self { log, streams: view.streams()?, devices: view.devices()?, consumers })
    }
}

/// Reads the store beside no owner and as its owner, who then appends.
pub(super) fn check(dir: &Path, blow: &Blow, whole: &Whole) {
    let beside =
        Varve::open_read_only_with_config(dir, config()).map_err(|error| tolerate_open(blow, &error));
    if let Ok(view) = beside {
        check_shown(&view, blow, whole);
    }
    let Ok(mut varve) = Varve::with_config(dir, config()).map_err(|error| tolerate_open(blow, &error)) else {
        return;
    };
    check_shown(&varve, blow, whole);
    append(&mut varve, "doors", StreamId(7), blow);
    // A key that is lost is drawn anew. What the old one has sealed is damaged ever after, and not shredded.
    (0..7).for_each(|id| append(&mut varve, LETTERS, StreamId(id), blow));
    check_places(&varve, blow, whole);
}

fn append(varve: &mut Varve, name: &str, id: StreamId, blow: &Blow) {
    let appended = varve.stream::<Door, 5_000>(name).map(|mut doors| doors.append(id, &door("new")));
    match appended {
        Ok(Ok((_, global))) => {
            let new = varve.global_reader().get_bytes(global).map(|bytes| bytes.map(|bytes| bytes.to_vec()));
            assert!(blow.is_lmdbs() || new.unwrap().is_some(), "what was appended is there");
        }
        Ok(Err(error)) => {
            assert!(blow.is_lmdbs() || matches!(error, AppendError::Corrupt(_)), "{blow:?}: {error}");
        }
        Err(error) => tolerate(blow, &error),
    }
}

/// Whatever was opened while the keys were damaged: with the keys as they were, all is readable again.
#[cfg(feature = "encryption")]
pub(super) fn check_mended(dir: &Path, image: &Path, blow: &Blow, whole: &Whole) {
    if blow.name != "keys" {
        return;
    }
    std::fs::copy(image.join("keys"), dir.join("keys")).unwrap();
    let varve = Varve::with_config(dir, config()).unwrap();
    for (global, stored) in whole.log.iter().enumerate() {
        let mut reader = varve.global_reader();
        let found = reader.get_bytes(GlobalSequence(global as u64)).unwrap();
        assert!(found.is_some_and(|found| &*found == stored), "{blow:?}: {global} was lost for good");
    }
}

/// What is shown is what was stored, all of it: the watermark tells how much that is.
fn check_shown(view: &VarveView, blow: &Blow, whole: &Whole) {
    match Whole::of(view) {
        Ok(shown) => assert!(blow.is_lmdbs() || shown == *whole, "{blow:?}"),
        Err(error) => tolerate(blow, &error),
    }
    check_places(view, blow, whole);
}

/// No event is another than it was.
fn check_places(view: &VarveView, blow: &Blow, whole: &Whole) {
    for (global, stored) in whole.log.iter().enumerate() {
        match view.global_reader().get_bytes(GlobalSequence(global as u64)) {
            Ok(Some(bytes)) => assert!(&*bytes == stored, "{blow:?}: {global} is another event"),
            Ok(None) => assert!(blow.is_lmdbs(), "{blow:?}: {global} is absent"),
            Err(error) => tolerate(blow, &error),
        }
    }
    for name in ["doors", "climate"] {
        check_merged(view, name, blow, whole).unwrap_or_else(|error| tolerate(blow, &error));
    }
}

/// Nor is it where streams are merged, and none comes twice.
fn check_merged(view: &VarveView, name: &str, blow: &Blow, whole: &Whole) -> Result<(), ReadError> {
    let snapshot = view.snapshot()?;
    let mut next = GlobalSequence(0);
    for event in snapshot.iter_name(name, next)? {
        let event = event?;
        assert!(event.global_seq >= next, "{blow:?}: {} comes after {next}", event.global_seq);
        next = GlobalSequence(event.global_seq.0 + 1);
        let stored = whole.log.get(event.global_seq.0 as usize);
        assert!(stored.is_none_or(|stored| event.payload == stored), "{blow:?}: another event in {name}");
    }
    Ok(())
}

/// Damage of our own bytes has a name and a place.
fn tolerate(blow: &Blow, error: &ReadError) {
    assert!(blow.is_lmdbs() || matches!(error, ReadError::Corrupt(_)), "{blow:?}: {error}");
}

fn tolerate_open(blow: &Blow, error: &OpenError) {
    let is_named = match error {
        // The version of a file's format is one of its bytes.
        OpenError::Corrupt(_) | OpenError::NewerFormat { .. } => true,
        OpenError::NotAStore { .. } => blow.leaves_no_own() && blow.name == "tail",
        #[cfg(feature = "encryption")]
        OpenError::Keys(varve_core::KeysError::NewerFormat { .. }) => blow.name == "keys",
        #[cfg(feature = "encryption")]
        OpenError::Keys(varve_core::KeysError::Missing { .. } | varve_core::KeysError::OtherStore { .. }) => {
            blow.leaves_no_own() && blow.name == "keys"
        }
        _ => false,
    };
    assert!(blow.is_lmdbs() || is_named, "{blow:?}: {error}");
}
