//! `varved tail`: stored events as JSON lines, as they are described, whatever firmware sent them.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use varve_core::{EventView, GlobalSequence, ReadError, StreamId, VarveView};

use crate::cli::TailArgs;
use crate::failure::Failure;
use crate::stdout::{Delivery, Lines};
use crate::store_view::{cannot_read, open_read_only};
use crate::utc::Utc;

/// Prints the events of a store, and with `--follow` those that become durable until told to stop.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn tail(args: &TailArgs) -> Result<ExitCode, Failure> {
    let view = open_read_only(&args.store)?;
    let mut tail =
        Tail { next: GlobalSequence(args.from), selection: Selection::new(args), line: Vec::new() };
    let mut lines = Lines::new();
    loop {
        let seen = view.last_commit();
        let printed = tail.print_some(&view, &mut lines, args)?;
        if lines.flush()? == Delivery::Closed || printed == Printed::Closed {
            return Ok(ExitCode::SUCCESS);
        }
        if printed == Printed::Some {
            continue;
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        while view.last_commit() == seen {
            if lines.wait(FOLLOW_PERIOD) == Delivery::Closed {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

struct Tail {
    next: GlobalSequence,
    selection: Selection,
    line: Vec<u8>,
}

/// Which events are wanted.
struct Selection {
    stream: Option<String>,
    id: Option<StreamId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    /// As many as one snapshot is held for; there may be more.
    Some,
    /// All that there are.
    All,
    /// Nobody reads any more.
    Closed,
}

impl Tail {
    /// Prints what a snapshot shows, but no more than it may be held for.
    fn print_some(
        &mut self,
        view: &VarveView,
        lines: &mut Lines,
        args: &TailArgs,
    ) -> Result<Printed, Failure> {
        let unreadable = |error: ReadError| cannot_read(&args.store, &error);
        let snapshot = view.snapshot().map_err(unreadable)?;
        let mut seen = 0;
        let events = match snapshot.iter_from(self.next) {
            Err(error) => return self.pass_over(error).map_err(unreadable),
            Ok(events) => events,
        };
        for event in events.take(EVENTS_PER_SNAPSHOT) {
            let event = match event {
                Err(error) => return self.pass_over(error).map_err(unreadable),
                Ok(event) => event,
            };
            seen += 1;
            self.next = GlobalSequence(event.global_seq.0 + 1);
            if self.selection.takes(&event) {
                self.line.clear();
                write_line(&mut self.line, &event).map_err(unreadable)?;
                if lines.write(&self.line)? == Delivery::Closed {
                    return Ok(Printed::Closed);
                }
            }
        }
        Ok(if seen == EVENTS_PER_SNAPSHOT { Printed::Some } else { Printed::All })
    }

    /// Goes on after events that are not there any more.
    fn pass_over(&mut self, error: ReadError) -> Result<Printed, ReadError> {
        let next = match &error {
            ReadError::Retired { first } => *first,
            ReadError::Quarantined { end } => *end,
            _ => return Err(error),
        };
        tracing::warn!("from global sequence {}: {error}", self.next);
        self.next = next;
        Ok(Printed::Some)
    }
}

impl Selection {
    fn new(args: &TailArgs) -> Self {
        Self { stream: args.stream.clone(), id: args.id.map(StreamId) }
    }

    fn takes(&self, event: &EventView<'_>) -> bool {
        self.stream.as_deref().is_none_or(|stream| stream == event.stream_name)
            && self.id.is_none_or(|id| id == event.stream_id)
    }
}

/// Writes an event as one JSON object. One that its descriptor cannot read is shown with the reason, and no event.
fn write_line(line: &mut Vec<u8>, event: &EventView<'_>) -> Result<(), ReadError> {
    let EventView { global_seq, stream_id, stream_seq, .. } = event;
    let name = serde_json::Value::from(event.stream_name);
    let time = Utc(event.time()?.utc_us);
    // Writing to memory does not fail.
    let _ = write!(
        line,
        r#"{{"global_seq":{global_seq},"stream":{name},"stream_id":{stream_id},"stream_seq":{stream_seq},"time":"{time}","event":"#
    );
    let error = match event.schema()? {
        Some(schema) => schema.write_json(event.payload, line).err().map(|error| error.to_string()),
        None => Some(format!("the store has no descriptor {}", event.descriptor_hash()?)),
    };
    if let Some(error) = error {
        let _ = write!(line, r#"null,"error":{}"#, serde_json::Value::from(error));
    }
    line.push(b'}');
    Ok(())
}

/// How many events are printed from one snapshot: while one is held, the store cannot use its pages again.
const EVENTS_PER_SNAPSHOT: usize = 4096;

/// How often a store that is followed is looked at.
const FOLLOW_PERIOD: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use varve_core::{
        Batch, BatchWriter, Channel, DescriptorHash, DeviceBatch, DeviceId, DeviceSequence, Epoch, Lane,
        StreamBinding, TimeColumn, Varve,
    };

    use super::*;

    fn printed(varve: &Varve) -> Vec<Value> {
        let snapshot = varve.snapshot().unwrap();
        let line = |event: EventView<'_>| {
            let mut line = Vec::new();
            write_line(&mut line, &event).unwrap();
            serde_json::from_slice(&line).unwrap()
        };
        snapshot.iter_from(GlobalSequence(0)).unwrap().map(|event| line(event.unwrap())).collect()
    }

    #[test]
    fn an_event_is_one_object_whatever_its_streams_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        varve.stream::<u32, 4>("a \"b\"").unwrap().append(StreamId(u64::MAX), &7).unwrap();
        let line = &printed(&varve)[0];
        assert_eq!((&line["global_seq"], &line["stream_seq"]), (&0.into(), &0.into()));
        assert_eq!((&line["stream"], &line["stream_id"]), (&"a \"b\"".into(), &u64::MAX.into()));
        assert_eq!(line["event"], 7);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line.get("error"), None);
    }

    #[test]
    fn events_that_are_not_there_any_more_are_passed_over() {
        let mut tail = Tail {
            next: GlobalSequence(3),
            selection: Selection { stream: None, id: None },
            line: Vec::new(),
        };
        let retired = ReadError::Retired { first: GlobalSequence(10) };
        assert!(tail.pass_over(retired).is_ok_and(|printed| printed == Printed::Some));
        assert_eq!(tail.next, GlobalSequence(10));
        tail.pass_over(ReadError::Quarantined { end: GlobalSequence(20) }).unwrap();
        assert_eq!(tail.next, GlobalSequence(20));
        assert!(tail.pass_over(ReadError::TooManyReaders).is_err());
        assert_eq!(tail.next, GlobalSequence(20));
    }

    #[test]
    fn an_event_whose_descriptor_the_store_lacks_is_shown_as_none_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let varve = Varve::new(dir.path()).unwrap();
        let (device, epoch) = (DeviceId(1), Epoch(1));
        let mut region = [0; 64];
        let mut batch = BatchWriter::new(Lane(0), TimeColumn::None);
        batch.try_push(&mut region, Channel(0), 0, |_| Some(3)).unwrap();
        let sealed = batch.seal(&mut region);
        let descriptor = DescriptorHash([0xab; 8]);
        let mut append = varve.begin();
        append.open_epoch(device, epoch).unwrap();
        append.external(descriptor).unwrap();
        append
            .device_batch(DeviceBatch {
                device,
                epoch,
                first: DeviceSequence(0),
                chain: 0,
                ingest_us: 0,
                channels: &[StreamBinding { name: "hidden", id: StreamId(1), descriptor }],
                batch: Batch::new_checked(&region[sealed]).unwrap(),
            })
            .unwrap();
        append.commit().unwrap();
        let line = &printed(&varve)[0];
        assert_eq!(line["event"], Value::Null);
        assert!(line["error"].as_str().unwrap().contains("abababababababab"), "{line}");
    }
}
