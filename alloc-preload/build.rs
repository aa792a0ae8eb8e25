//! Links the library so that it is never unloaded: threads and forks call back into it for as long as the process lives.
//! And so that its constructor comes first: it needs a thread-specific key, of which others may leave none.
//! And so that code which is called seldom lies apart (`layout.ld`), in pages that are not mapped together with others: the
//! kernel maps by 64 KiB.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,initfirst,-z,max-page-size=65536");
    // `mold -run` tells by MOLD_PATH.
    println!("cargo::rerun-if-env-changed=MOLD_PATH");
    let given = |name| env::var(name).unwrap_or_default();
    let said = ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_LINKER", "MOLD_PATH"].map(given).concat();
    if ["gold", "mold", "wild"].iter().all(|linker| !said.contains(linker)) {
        let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-cdylib-link-arg=-T{package}/layout.ld");
    }
}
