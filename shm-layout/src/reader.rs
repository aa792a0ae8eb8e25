//! Untrusted bytes in, a checked snapshot or a precise error out.
