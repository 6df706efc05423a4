//! A descriptor: what is parsed has one form, which its hashes name.

use varve_core::descriptor::DESCRIPTOR_LEN_MAX;
use varve_core::{DescriptorHash, Event, Schema};

use crate::Verdict;
use crate::typed_event::Specimen;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let schema = Schema::parse(bytes);
    if let Ok(schema) = &schema {
        assert!(bytes.len() <= DESCRIPTOR_LEN_MAX);
        assert!(Schema::parse(&bytes[..bytes.len() - 1]).is_err(), "a descriptor ends where it ends");
        assert_eq!(schema.descriptor_hash(), DescriptorHash::of(bytes));
        assert!(schema.fields().all(|field| field.name.len() < 256));
        // No event at all, one that is all zeros: an error or JSON.
        for event in [&[][..], &[0; 64]] {
            let _ = schema.write_json(event, &mut Vec::new());
        }
    }
    Verdict::of(&schema)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        Specimen::DESCRIPTOR.to_vec(),
        <u64 as Event>::DESCRIPTOR.to_vec(),
        <Vec<Option<String>> as Event>::DESCRIPTOR.to_vec(),
        <[Option<i128>; 3] as Event>::DESCRIPTOR.to_vec(),
    ]
}
