//! Input that is not what it seems: half rows, open quotes, compressed files, settings that changed, odd names.
