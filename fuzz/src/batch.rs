//! A batch: every event of one that passes its check is there, as often as it is read.

use varve_core::{BATCH_EVENTS_MAX, Batch, BatchWriter, Channel, Lane, TimeColumn};

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let batch = Batch::new_checked(bytes);
    if let Ok(batch) = &batch {
        check(batch, bytes);
    }
    Verdict::of(&batch)
}

/// Holds what a checked batch yields against what it says of itself, and against the batch of the same events that
/// the writer makes.
fn check(batch: &Batch<'_>, bytes: &[u8]) {
    let events: Vec<_> = batch.events().collect();
    assert_eq!(batch.bytes(), bytes);
    assert!(Batch::new_checked(&bytes[..bytes.len() - 1]).is_err(), "a batch ends where it ends");
    assert_eq!(events.len(), batch.len());
    assert!((1..=BATCH_EVENTS_MAX).contains(&events.len()) && batch.lane().0 < 4);
    assert!(events.iter().all(|event| event.ticks.is_some() == events[0].ticks.is_some()));
    assert!(events.iter().map(|event| event.bytes.len()).sum::<usize>() < bytes.len());
    let time = if events[0].ticks.is_some() { TimeColumn::Delta } else { TimeColumn::None };
    let rewritten = seal(
        batch.lane(),
        time,
        events.iter().map(|event| (event.channel.0, event.ticks.unwrap_or(0), event.bytes)),
    );
    // The writer holds back room for columns that may turn out smaller: a full batch need not fit it.
    if let Some(rewritten) = rewritten {
        let again = Batch::new_checked(&rewritten).expect("the writer makes batches");
        assert!(again.events().eq(events));
    }
}

/// Seals events of a channel, ticks and bytes each, or `None` where they are too many or too long.
fn seal<'a>(
    lane: Lane,
    time: TimeColumn,
    events: impl Iterator<Item = (u8, u64, &'a [u8])>,
) -> Option<Vec<u8>> {
    let mut region = vec![0; REGION_LEN];
    let mut writer = BatchWriter::new(lane, time);
    for (channel, ticks, event) in events {
        let archive = |out: &mut [u8]| {
            out.get_mut(..event.len())?.copy_from_slice(event);
            Some(event.len())
        };
        writer.try_push(&mut region, Channel(channel), ticks, archive).ok()?;
    }
    let sealed = writer.seal(&mut region);
    Some(region[sealed].to_vec())
}

/// Batches of every shape of their columns.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let events: [&[(u8, u64, &[u8])]; 4] = [
        &[(3, 1_000, b"one")],
        &[(0, 10, b"same"), (0, 20, b"size"), (0, 30, b"each"), (0, 41, b"time")],
        &[(0, 10, b"two"), (1, 12, b"channels"), (0, 14, b"are"), (1, 15, b"regular"), (1, 19, b"periods")],
        &[(2, u64::MAX, b""), (2, 0, b"lengths that differ"), (15, 7, b"on"), (2, 7, b"several")],
    ];
    let times = [TimeColumn::None, TimeColumn::One, TimeColumn::Delta, TimeColumn::DeltaOfDeltas];
    let cases = times.iter().flat_map(|time| events.iter().map(move |events| (*time, *events)));
    cases.filter_map(|(time, events)| seal(Lane(1), time, events.iter().copied())).collect()
}

const REGION_LEN: usize = 65_536;
