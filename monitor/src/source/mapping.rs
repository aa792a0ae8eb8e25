//! A segment's mapping, with `unsafe`, since it is memory that others write and may cut short.
//!
//! The mapping is attached by name, made read-only at once and never dereferenced: its bytes are copied out by the
//! kernel, for which a page that has gone is an error and not a signal.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::mm::{MprotectFlags, mprotect};
use shared_memory::{Shmem, ShmemConf, ShmemError};
use std::ffi::c_void;
use std::io;

/// A shared-memory object in our address space, readable only.
pub(crate) struct Mapping {
    memory: Shmem,
}

impl Mapping {
    /// Attaches to the object called `name` in `/dev/shm`.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let memory = ShmemConf::new().os_id(name).open().map_err(|error| match error {
            ShmemError::MapOpenFailed(code) | ShmemError::UnknownOsError(code) => {
                io::Error::from_raw_os_error(code.cast_signed())
            }
            other => io::Error::other(other),
        })?;
        // SAFETY: the range is the mapping that `memory` owns, and nobody holds a reference into it.
        unsafe { mprotect(memory.as_ptr().cast(), memory.len(), MprotectFlags::READ)? };
        Ok(Self { memory })
    }

    /// Its size when it was attached; it may have shrunk since.
    pub(crate) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Copies several parts in the order given, one right after the other: `parts` are offsets with as many bytes as
    /// the buffer is long. An error where any of it lies beyond the object's present end.
    pub(crate) fn copy(&self, parts: &mut [(usize, &mut [u8])]) -> io::Result<()> {
        let mut theirs = Vec::with_capacity(parts.len());
        let mut ours = Vec::with_capacity(parts.len());
        let mut wanted = 0;
        for (offset, buffer) in parts {
            if offset.checked_add(buffer.len()).is_none_or(|end| end > self.len()) {
                return Err(Errno::FAULT.into());
            }
            // The address is only handed to the kernel, which checks it.
            let from = self.memory.as_ptr().wrapping_add(*offset).cast::<c_void>();
            theirs.push(libc::iovec { iov_base: from, iov_len: buffer.len() });
            ours.push(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
            wanted += buffer.len();
        }
        // SAFETY: `ours` describes the buffers of `parts`, borrowed exclusively for this call; the kernel writes
        // nothing else. `theirs` is only read, and checked by the kernel.
        let copied = unsafe {
            libc::process_vm_readv(
                libc::getpid(),
                ours.as_ptr(),
                ours.len() as libc::c_ulong,
                theirs.as_ptr(),
                theirs.len() as libc::c_ulong,
                0,
            )
        };
        match usize::try_from(copied) {
            Ok(copied) if copied == wanted => Ok(()),
            Ok(_) => Err(Errno::FAULT.into()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}
