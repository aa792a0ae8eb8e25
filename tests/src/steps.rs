//! A program's instructions one by one, by `ptrace`.
