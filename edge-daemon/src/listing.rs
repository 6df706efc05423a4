//! `varved streams` and `varved devices`: what a store holds, as JSON lines.

use std::process::ExitCode;

use varve_core::{DeviceRecord, LaneRecord, StreamInfo};

use crate::cli::StoreArgs;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::stdout::{Delivery, Lines};
use crate::store_view::{cannot_read, open_read_only};

/// Prints a line for each stream: its name, its id, and the place of its next event.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn streams(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let streams =
        open_read_only(&args.store, None)?.streams().map_err(|error| cannot_read(&args.store, &error))?;
    print(streams.iter().map(stream_line))
}

/// Prints a line for each device: its latest epoch, and how far each lane of it is stored.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn devices(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let devices =
        open_read_only(&args.store, None)?.devices().map_err(|error| cannot_read(&args.store, &error))?;
    print(devices.iter().map(device_line))
}

fn print(rows: impl Iterator<Item = String>) -> Result<ExitCode, Failure> {
    let mut lines = Lines::new();
    for row in rows {
        if lines.write(row.as_bytes())? == Delivery::Closed {
            return Ok(ExitCode::SUCCESS);
        }
    }
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn stream_line(stream: &StreamInfo) -> String {
    let StreamInfo { name, id, next, .. } = stream;
    format!(r#"{{"stream":{},"stream_id":{id},"next":{next}}}"#, serde_json::Value::from(name.as_str()))
}

fn device_line(device: &DeviceRecord) -> String {
    let (name, epoch, closed) = (DeviceName(device.device), device.epoch, device.is_closed());
    let lanes: Vec<String> = device.lanes().map(lane_object).collect();
    format!(r#"{{"device":"{name}","epoch":{epoch},"closed":{closed},"lanes":[{}]}}"#, lanes.join(","))
}

fn lane_object(lane: &LaneRecord) -> String {
    let LaneRecord { lane, next, gap_total, heard, .. } = lane;
    format!(r#"{{"lane":{lane},"next":{next},"gap_events":{gap_total},"heard":{heard}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_core::{DeviceId, DeviceSequence, Epoch, Lane, StreamId, Varve};

    #[test]
    fn a_stream_is_a_line_of_json_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        varve.stream::<u8, 1>("a \"b\"\n").unwrap().append_batch(StreamId(u64::MAX), &[1, 2, 3]).unwrap();
        let expected = r#"{"stream":"a \"b\"\n","stream_id":18446744073709551615,"next":3}"#;
        assert_eq!(stream_line(&varve.streams().unwrap()[0]), expected);
    }

    #[test]
    fn a_device_is_a_line_of_json_with_the_lanes_of_its_latest_epoch() {
        let lane = |epoch, next| LaneRecord {
            epoch: Epoch(epoch),
            lane: Lane(0),
            next: DeviceSequence(next),
            chain: 7,
            gap_total: 2,
            heard: DeviceSequence(next + 1),
            closed: epoch == 1,
        };
        let device =
            DeviceRecord { device: DeviceId(0xabc), epoch: Epoch(2), history: vec![lane(1, 9), lane(2, 5)] };
        let expected = concat!(
            r#"{"device":"00000000000abc","epoch":2,"closed":false,"#,
            r#""lanes":[{"lane":0,"next":5,"gap_events":2,"heard":6}]}"#
        );
        assert_eq!(device_line(&device), expected);
    }
}
