//! Output of another life of the store, output that is input, disks that are full, and sinks that are slow.
