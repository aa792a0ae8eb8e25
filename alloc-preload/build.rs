//! Links the library so that it is never unloaded: threads and forks call back into it for as long as the process lives.
//! And so that its constructor comes first: it needs a thread-specific key, of which others may leave none.
//! And so that code which is called seldom lies apart (`layout.ld`), in pages that are not mapped together with others: the
//! kernel maps by 64 KiB.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,initfirst,-z,max-page-size=65536");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if ["gold", "mold", "wild"].iter().all(|linker| !flags.contains(&format!("fuse-ld={linker}"))) {
        let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-T,{package}/layout.ld");
    }
}
