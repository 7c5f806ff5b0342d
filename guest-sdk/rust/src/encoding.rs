//! Encodings of keys, values and cells.

/// How bytes are to be read by tools and sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Anything.
    Bytes,
    /// Text.
    Utf8,
    /// One JSON value.
    Json,
    /// One CBOR item.
    Cbor,
    /// One MessagePack value.
    Msgpack,
    /// Signed 64-bit integer, 8 bytes, least significant first.
    I64Le,
    /// Unsigned 64-bit integer, 8 bytes, least significant first.
    U64Le,
    /// IEEE 754 double, 8 bytes, least significant first.
    F64Le,
}
