//! A build that tells what statistics and checks cost, by doing without them: `--features bare`. For measuring only:
//! it counts nothing, believes every pointer, and its segment, which it does not publish, stays empty.
//!
//! Bins, slabs, spans and threads are the same. What is left out are the stores to the counters, the account that the
//! peaks need, and the ledger: neither `malloc` nor `free` reads or writes it. Only which blocks rest in their slab has
//! to be known, so slow paths note when a block comes to rest there and when it leaves.

/// Whether this is such a build.
pub(crate) const BARE: bool = cfg!(feature = "bare");
