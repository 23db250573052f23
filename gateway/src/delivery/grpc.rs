//! gRPC's frame around a message (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The bytes before a message: whether it is compressed, and its length.
const HEADER: usize = 5;

/// A message in its frame: not compressed, its length, itself.
#[must_use]
pub fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + HEADER);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put(message.encode_to_vec().as_slice());
    frame.freeze()
}

/// The message of a body that is one frame; none of one that is shorter than a frame is.
#[must_use]
pub fn unframed(body: &[u8]) -> Option<&[u8]> {
    body.get(HEADER..)
}
