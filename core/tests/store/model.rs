//! Random operations against the simplest log there is: a list.

mod check;
mod operation;
mod oracle;
mod subject;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scaled;
use operation::Operation;
use subject::Subject;

#[test]
fn random_operations_agree_with_a_list() {
    let seeds = match std::env::var("VARVE_TEST_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("VARVE_TEST_SEED is a number"),
        Err(_) => 0..scaled(10_000),
    };
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(1..=OPERATIONS_MAX);
        let operations: Vec<_> = (0..count).map(|_| Operation::random(&mut random)).collect();
        if !agree(&operations) {
            let operations = shrink(operations);
            panic!("VARVE_TEST_SEED={seed} fails by these operations alone: {operations:#?}");
        }
    }
}

/// Whether store and list agree after each of the operations.
fn agree(operations: &[Operation]) -> bool {
    let run = AssertUnwindSafe(|| {
        let mut subject = Subject::new();
        operations.iter().for_each(|operation| subject.perform(operation));
        subject.check_all();
    });
    catch_unwind(run).is_ok()
}

/// Leaves out whatever operations the failure does not need.
fn shrink(mut operations: Vec<Operation>) -> Vec<Operation> {
    let mut at = operations.len();
    while at > 0 {
        at -= 1;
        let mut fewer = operations.clone();
        fewer.remove(at);
        if !agree(&fewer) {
            operations = fewer;
        }
    }
    operations
}

/// The most operations of a case.
const OPERATIONS_MAX: usize = 16;
