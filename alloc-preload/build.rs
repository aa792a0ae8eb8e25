//! Links the library so that it is never unloaded: threads and forks call back into it for as long as the process lives.
//! And so that its constructor comes first: it needs a thread-specific key, of which others may leave none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,initfirst");
}
