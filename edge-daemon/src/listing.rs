//! `varved streams` and `varved devices`: what a store holds, as JSON lines.

use std::process::ExitCode;

use serde_json::json;
use varve_core::{DeviceRecord, StreamInfo};

use crate::cli::StoreArgs;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::stdout::{Delivery, Lines};
use crate::store_view::{cannot_read, open_read_only};

/// Prints a line for each stream: its name, its id, and how many events it holds.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn streams(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let streams = open_read_only(&args.store)?.streams().map_err(|error| cannot_read(&args.store, &error))?;
    print(streams.iter().map(stream_line))
}

/// Prints a line for each device: its latest epoch, and how far each lane of it is stored.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn devices(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let devices = open_read_only(&args.store)?.devices().map_err(|error| cannot_read(&args.store, &error))?;
    print(devices.iter().map(device_line))
}

fn print(values: impl Iterator<Item = serde_json::Value>) -> Result<ExitCode, Failure> {
    let mut lines = Lines::new();
    for value in values {
        if lines.write(value.to_string().as_bytes())? == Delivery::Closed {
            return Ok(ExitCode::SUCCESS);
        }
    }
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn stream_line(stream: &StreamInfo) -> serde_json::Value {
    json!({ "stream": stream.name, "stream_id": stream.id.0, "events": stream.next.0 })
}

fn device_line(device: &DeviceRecord) -> serde_json::Value {
    let lane_line = |lane: &varve_core::LaneRecord| {
        json!({
            "lane": lane.lane.0,
            "next": lane.next.0,
            "gap_events": lane.gap_total,
            "heard": lane.heard.0,
        })
    };
    json!({
        "device": DeviceName(device.device).to_string(),
        "epoch": device.epoch.0,
        "closed": device.is_closed(),
        "lanes": device.lanes().map(lane_line).collect::<Vec<_>>(),
    })
}
