//! Parsed descriptors, since untyped readers ask for the same few again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::descriptor::Schema;

/// A bounded cache of schemas by the number of their descriptor.
#[derive(Debug, Default)]
pub(in crate::store) struct SchemaCache {
    schemas: Mutex<HashMap<u32, Arc<Schema>>>,
}

impl SchemaCache {
    /// The schema of a descriptor, which `parse` makes where it is not at hand. External ones are not kept, since
    /// they may be completed.
    pub(in crate::store) fn get<E>(
        &self,
        descriptor: u32,
        parse: impl FnOnce() -> Result<Option<Schema>, E>,
    ) -> Result<Option<Arc<Schema>>, E> {
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = schemas.get(&descriptor) {
            return Ok(Some(schema.clone()));
        }
        let Some(schema) = parse()?.map(Arc::new) else { return Ok(None) };
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(descriptor, schema.clone());
        Ok(Some(schema))
    }
}

/// More types than a gateway meets; past it the cache starts anew.
const SCHEMAS_MAX: usize = 256;
