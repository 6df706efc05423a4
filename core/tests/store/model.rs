//! Random operations against the simplest log there is: a list.

mod beside;
mod check;
mod operation;
mod oracle;
mod subject;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scaled;
use beside::Beside;
use operation::Case;
use subject::Subject;

pub(crate) use beside::tell_what_is_seen;

#[test]
fn random_operations_agree_with_a_list() {
    let seeds = match std::env::var("VARVE_TEST_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("VARVE_TEST_SEED is a number"),
        Err(_) => 0..scaled(10_000),
    };
    let mut beside = Beside::start();
    for seed in seeds {
        let case = Case::random(&mut fastrand::Rng::with_seed(seed));
        if !agree(&case, &mut beside) {
            let case = shrink(case, &mut beside);
            panic!("VARVE_TEST_SEED={seed} fails by these operations alone: {case:#?}");
        }
    }
}

/// Whether store and list agree after each of the operations.
fn agree(case: &Case, beside: &mut Beside) -> bool {
    let run = AssertUnwindSafe(|| {
        let mut subject = Subject::new(case.is_sealed, beside);
        case.operations.iter().for_each(|operation| subject.perform(operation));
        subject.check_all();
    });
    let agrees = catch_unwind(run).is_ok();
    if !agrees {
        // Nobody knows what it is about to say.
        *beside = Beside::start();
    }
    agrees
}

/// Leaves out whatever operations the failure does not need.
fn shrink(mut case: Case, beside: &mut Beside) -> Case {
    let mut at = case.operations.len();
    while at > 0 {
        at -= 1;
        let mut fewer = case.clone();
        fewer.operations.remove(at);
        if !agree(&fewer, beside) {
            case = fewer;
        }
    }
    case
}
