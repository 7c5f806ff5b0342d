//! Stores with foreign, damaged and old things in them, settings of S3, and retention.
