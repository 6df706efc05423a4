//! Consumers have cursors that move with what their work appends, or not at all.

use varve_core::{
    AppendError, CONSUMER_NAME_LEN_MAX, Damage, GlobalSequence, Place, ReadError, StreamId, Varve,
};

use crate::{new_dir, open};

/// A store with the numbers 0, 1 and 2, and a cursor of the consumer "sums".
fn with_consumer(dir: &tempfile::TempDir, next: u64) -> Varve {
    let mut varve = open(dir);
    varve.stream::<u64, 8>("numbers").unwrap().append_batch(StreamId(0), &[0, 1, 2]).unwrap();
    let mut append = varve.begin();
    append.consumer("sums", GlobalSequence(next)).unwrap();
    append.commit().unwrap();
    varve
}

#[test]
fn a_consumer_stands_where_it_was_moved_forward_or_back() {
    let dir = new_dir();
    let varve = with_consumer(&dir, 3);
    assert_eq!(varve.consumer("sums").unwrap(), Some(GlobalSequence(3)));
    assert_eq!(varve.consumer("others").unwrap(), None);
    let mut append = varve.begin();
    for (name, next) in [("sums", 2), ("others", 0), ("sums", 1)] {
        append.consumer(name, GlobalSequence(next)).unwrap();
    }
    assert_eq!(append.commit().unwrap().events, 0);
    drop((append, varve));
    let varve = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(varve.consumer("sums").unwrap(), Some(GlobalSequence(1)));
    assert_eq!(varve.consumer("others").unwrap(), Some(GlobalSequence(0)));
}

#[test]
fn a_cursor_and_the_events_of_its_append_are_stored_together_or_not_at_all() {
    let dir = new_dir();
    let mut varve = with_consumer(&dir, 1);
    let sums = varve.stream::<u64, 8>("sums").unwrap();
    let mut append = varve.begin();
    append.event(&sums, StreamId(0), &3).unwrap();
    append.consumer("sums", GlobalSequence(5)).unwrap();
    let error = append.commit().unwrap_err();
    let expected = (GlobalSequence(5), GlobalSequence(4));
    assert!(matches!(error, AppendError::ConsumerAhead { next, end } if (next, end) == expected), "{error}");
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(3));
    assert_eq!(varve.consumer("sums").unwrap(), Some(GlobalSequence(1)));
    append.clear();
    append.event(&sums, StreamId(0), &3).unwrap();
    append.consumer("sums", GlobalSequence(4)).unwrap();
    append.commit().unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(4));
    assert_eq!(varve.consumer("sums").unwrap(), Some(GlobalSequence(4)));
}

#[test]
fn a_consumers_name_has_a_length() {
    let dir = new_dir();
    let varve = with_consumer(&dir, 0);
    let longest = "n".repeat(CONSUMER_NAME_LEN_MAX);
    let mut append = varve.begin();
    for name in ["", &format!("{longest}n")] {
        let error = append.consumer(name, GlobalSequence(0)).unwrap_err();
        assert!(matches!(error, AppendError::ConsumerName { len } if len == name.len()), "{error}");
        assert_eq!(varve.consumer(name).unwrap(), None);
    }
    append.consumer(&longest, GlobalSequence(2)).unwrap();
    append.commit().unwrap();
    assert_eq!(varve.consumer(&longest).unwrap(), Some(GlobalSequence(2)));
}

#[test]
fn a_damaged_cursor_is_an_error_that_names_the_consumer() {
    let dir = new_dir();
    drop(with_consumer(&dir, 1));
    crate::damage::edit(dir.path(), "consumer", |_, value| value.truncate(7));
    let error = open(&dir).consumer("sums").unwrap_err();
    let expected = Place::Row { table: "consumer", key: b"sums".to_vec() };
    assert!(matches!(&error, ReadError::Corrupt(Damage { place, .. }) if *place == expected), "{error}");
}

#[test]
fn a_store_from_before_there_were_consumers_is_read_and_completed() {
    let dir = new_dir();
    drop(with_consumer(&dir, 1));
    crate::damage::remove_table(dir.path(), "consumer");
    let view = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(view.consumer("sums").unwrap(), None);
    assert_eq!(view.next_global_seq().unwrap(), GlobalSequence(3));
    drop(view);
    let varve = open(&dir);
    assert_eq!(varve.consumer("sums").unwrap(), None);
    let mut append = varve.begin();
    append.consumer("sums", GlobalSequence(2)).unwrap();
    append.commit().unwrap();
    assert_eq!(varve.consumer("sums").unwrap(), Some(GlobalSequence(2)));
}
