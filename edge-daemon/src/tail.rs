//! `varved tail`: stored events as JSON lines, as they are described, whatever firmware sent them.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use varve_core::{Absence, EventView, GlobalSequence, ReadError, StreamId, VarveView};

use crate::cli::TailArgs;
use crate::failure::Failure;
use crate::master_key;
use crate::stdout::{Delivery, Lines};
use crate::store_view::{cannot_read, open_read_only};
use crate::utc::Utc;

/// Prints the events of a store, and with `--follow` those that become durable until told to stop.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn tail(args: &TailArgs) -> Result<ExitCode, Failure> {
    let view = open_read_only(&args.store, master_key::find(&args.master_key)?)?;
    let mut tail =
        Tail { next: GlobalSequence(args.from), selection: Selection::new(args), lines: Vec::new() };
    let mut stdout = Lines::new();
    loop {
        let seen = view.last_commit();
        let gathered = tail.gather(&view);
        if stdout.write_all(&tail.lines)? == Delivery::Closed || stdout.flush()? == Delivery::Closed {
            return Ok(ExitCode::SUCCESS);
        }
        if gathered.map_err(|error| cannot_read(&args.store, &error))? == Gathered::Some {
            continue;
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        while view.last_commit() == seen {
            if stdout.wait(FOLLOW_PERIOD) == Delivery::Closed {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

struct Tail {
    next: GlobalSequence,
    selection: Selection,
    /// What is to be printed, each line with its end.
    lines: Vec<u8>,
}

/// Which events are wanted.
struct Selection {
    stream: Option<String>,
    id: Option<StreamId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    /// As many as one snapshot is held for; there may be more.
    Some,
    /// All that there are.
    All,
}

impl Tail {
    /// Makes lines of what a snapshot shows, but of no more than it may be held for. None is held while they are
    /// printed: whoever reads them may take his time, and the store cannot use its pages again meanwhile.
    fn gather(&mut self, view: &VarveView) -> Result<Gathered, ReadError> {
        self.lines.clear();
        let snapshot = view.snapshot()?;
        for (seen, event) in snapshot.iter_from(self.next)?.enumerate() {
            if seen == EVENTS_PER_SNAPSHOT || self.lines.len() >= LINES_LEN {
                return Ok(Gathered::Some);
            }
            let start = self.lines.len();
            self.next = match event {
                Ok(event) => {
                    if self.selection.takes(&event) {
                        write_line(&mut self.lines, &event)?;
                    }
                    GlobalSequence(event.global_seq.0 + 1)
                }
                Err(ReadError::Absent(absence)) => {
                    if self.selection.may_have_lost(&absence) {
                        write_absence(&mut self.lines, &absence);
                    }
                    absence.log.map_or(self.next, |range| range.end)
                }
                // Another snapshot opens what this one has no memory for.
                Err(ReadError::SnapshotFull) if seen > 0 => return Ok(Gathered::Some),
                Err(error) => return Err(error),
            };
            if self.lines.len() > start {
                self.lines.push(b'\n');
            }
        }
        Ok(Gathered::All)
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

    /// Whether a wanted event may be among those that are absent.
    fn may_have_lost(&self, absence: &Absence) -> bool {
        absence.stream.as_ref().is_none_or(|lost| {
            self.stream.as_deref().is_none_or(|stream| stream == lost.name)
                && self.id.is_none_or(|id| id == lost.id)
        })
    }
}

/// Writes an event as one JSON object, or nothing where it cannot be read. One that its descriptor cannot read is shown with
/// the reason, and no event.
fn write_line(lines: &mut Vec<u8>, event: &EventView<'_>) -> Result<(), ReadError> {
    let EventView { global_seq, stream_id, stream_seq, .. } = event;
    let name = serde_json::Value::from(event.stream_name);
    let time = Utc(event.time()?.utc_us);
    let schema = match event.schema()? {
        Some(schema) => Ok(schema),
        None => Err(format!("the store has no descriptor {}", event.descriptor_hash()?)),
    };
    // Writing to memory does not fail.
    let _ = write!(
        lines,
        r#"{{"global_seq":{global_seq},"stream":{name},"stream_id":{stream_id},"stream_seq":{stream_seq},"time":"{time}","event":"#
    );
    let written =
        schema.and_then(|schema| schema.write_json(event.payload, lines).map_err(|error| error.to_string()));
    if let Err(error) = written {
        let _ = write!(lines, r#"null,"error":{}"#, serde_json::Value::from(error));
    }
    lines.push(b'}');
    Ok(())
}

/// Writes in one JSON object which events cannot be had, from a place on, and why.
fn write_absence(line: &mut Vec<u8>, absence: &Absence) {
    line.push(b'{');
    // Writing to memory does not fail.
    if let Some(log) = &absence.log {
        let _ = write!(line, r#""global_seq":{},"#, log.start);
    }
    if let Some(stream) = &absence.stream {
        let (name, id, first) = (serde_json::Value::from(&*stream.name), stream.id, stream.range.start);
        let _ = write!(line, r#""stream":{name},"stream_id":{id},"stream_seq":{first},"#);
    }
    let _ = write!(line, r#""absent":"{}","events":{}}}"#, absence.reason.name(), absence.events());
}

/// How many events are looked at in one snapshot: while one is held, the store cannot use its pages again.
const EVENTS_PER_SNAPSHOT: usize = 4096;

/// How many bytes of lines are printed at once, beside the last one.
const LINES_LEN: usize = 1 << 20;

/// How often a store that is followed is looked at.
const FOLLOW_PERIOD: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use varve_core::{
        Batch, BatchWriter, Channel, DescriptorHash, DeviceBatch, DeviceId, DeviceSequence, Epoch, Lane,
        RetentionPolicy, StreamBinding, StreamSequence, TimeColumn, Varve,
    };

    use super::*;

    fn printed(varve: &Varve) -> Vec<Value> {
        let snapshot = varve.snapshot().unwrap();
        let line = |event: Result<EventView<'_>, ReadError>| {
            let mut line = Vec::new();
            match event {
                Err(ReadError::Absent(absence)) => write_absence(&mut line, &absence),
                event => write_line(&mut line, &event.unwrap()).unwrap(),
            }
            serde_json::from_slice(&line).unwrap()
        };
        snapshot.iter_from(GlobalSequence(0)).unwrap().map(line).collect()
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
    fn events_that_cannot_be_had_are_one_object_and_those_behind_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut frames = varve.stream::<[u8; 4096], 4096>("frames").unwrap();
        frames.append_batch(StreamId(7), &[[0; 4096]; 40]).unwrap();
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(20);
        let first = varve.retain(&policy).unwrap().first.0;
        let lines = printed(&varve);
        let gone = serde_json::json!({ "global_seq": 0, "absent": "retired", "events": first });
        assert_eq!(lines[0], gone);
        assert_eq!((&lines[1]["global_seq"], lines.len() as u64), (&first.into(), 41 - first));
    }

    #[test]
    fn lines_are_gathered_stretch_by_stretch() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut frames = varve.stream::<[u8; 4096], 4096>("frames").unwrap();
        frames.append_batch(StreamId(7), &[[0; 4096]; 200]).unwrap();
        drop((frames, varve));
        let view = Varve::open_read_only(dir.path()).unwrap();
        let selection = Selection { stream: None, id: None };
        let mut tail = Tail { next: GlobalSequence(0), selection, lines: Vec::new() };
        let mut gather = || {
            let gathered = tail.gather(&view).unwrap();
            (gathered, tail.lines.iter().filter(|&&byte| byte == b'\n').count())
        };
        let (more, first) = gather();
        assert_eq!((more, gather()), (Gathered::Some, (Gathered::All, 200 - first)));
        assert_eq!(gather(), (Gathered::All, 0));
    }

    #[test]
    fn an_absence_in_a_stream_that_nobody_asked_for_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut frames = varve.stream::<[u8; 4096], 4096>("frames").unwrap();
        frames.append_batch(StreamId(7), &[[0; 4096]; 40]).unwrap();
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(20);
        varve.retain(&policy).unwrap();
        let gone = frames.reader().get_bytes(StreamId(7), StreamSequence(3)).map(drop);
        let Err(ReadError::Absent(of_stream)) = gone else { panic!("{gone:?}") };
        let gone = varve.global_reader().get(GlobalSequence(3)).map(drop);
        let Err(ReadError::Absent(of_any)) = gone else { panic!("{gone:?}") };
        let wants = |stream: Option<&str>, id: Option<u64>| {
            let selection = Selection { stream: stream.map(Into::into), id: id.map(StreamId) };
            (selection.may_have_lost(&of_stream), selection.may_have_lost(&of_any))
        };
        assert_eq!(wants(None, None), (true, true));
        assert_eq!(wants(Some("frames"), Some(7)), (true, true));
        assert_eq!(wants(Some("frames"), Some(8)), (false, true));
        assert_eq!(wants(Some("doors"), None), (false, true));
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
