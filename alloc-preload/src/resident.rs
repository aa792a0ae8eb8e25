//! Whether the kernel may be asked what is resident.

use crate::os;
use crate::segment;
use core::sync::atomic::{AtomicU8, Ordering};

static MAY_ASK: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// Whether it may: a filter of system calls that was in force before the program began may end it for the question. One that
/// comes later is seen to come.
pub(crate) fn may_ask() -> bool {
    if segment::is_filtered() {
        return false;
    }
    if MAY_ASK.load(Ordering::Relaxed) == UNKNOWN {
        MAY_ASK.store(if os::is_filtered() { NO } else { YES }, Ordering::Relaxed);
    }
    MAY_ASK.load(Ordering::Relaxed) == YES
}
