//! The example program of the README of the store that Varve grew from: only the crate's name differs, and `Event`
//! among the derives.
#![cfg(feature = "store")]

use rkyv::{Archive, Deserialize, Serialize};
use tempfile::tempdir;
use varve_core::{Event, StreamId, Varve};

// Define your event schema
#[derive(Archive, Serialize, Deserialize, Debug, Clone, Event)]
#[rkyv(derive(Debug))]
struct OrderPlaced {
    order_id: u64,
    product: String,
    quantity: u32,
    amount: u64,
}

#[test]
fn the_example_program_runs() -> Result<(), Box<dyn std::error::Error>> {
    // Initialize the database
    let dir = tempdir()?;
    let mut varve = Varve::new(dir.path())?;
    // Create a typed stream
    let mut stream = varve.stream::<OrderPlaced, 1024>("orders")?;
    // Append an event
    let event = OrderPlaced {
        order_id: 12345,
        product: "Laptop".to_string(),
        quantity: 1,
        amount: 99900, // cents
    };
    let (stream_seq, global_seq) = stream.append(StreamId(1), &event)?;
    assert_eq!((stream_seq.0, global_seq.0), (0, 0));
    // Read it back (zero-copy)
    let mut reader = stream.reader();
    let mut found = false;
    if let Some(archived_event) = reader.get_archived(StreamId(1), stream_seq)? {
        // 'archived_event' is a reference directly into the memory-mapped file
        assert_eq!(archived_event.order_id, 12345);
        assert_eq!(archived_event.product, "Laptop");
        found = true;
    }
    assert!(found);
    // Batch append for high throughput
    let more_events: Vec<OrderPlaced> = (0..100)
        .map(|i| OrderPlaced {
            order_id: 12346 + i,
            product: format!("Product-{}", i),
            quantity: 1,
            amount: 1000 * (i + 1),
        })
        .collect();
    let results = stream.append_batch(StreamId(2), &more_events)?;
    assert_eq!(results.len(), 100);
    assert_eq!(results.iter().last().map(|(stream, global)| (stream.0, global.0)), Some((99, 100)));
    // Iterate over a stream
    let iter = reader.iter_stream(StreamId(2), None)?;
    let events = iter.collect_bytes()?;
    assert_eq!(events.len(), 100);
    Ok(())
}
