//! Packs: ordinary `.tar.zst` files of independent frames, with a table of contents behind the last one.
//!
//! In: blobs, trees and one snapshot body. Out: files of at most 32 MiB (a segment of a big file apart), named by the
//! SHA-256 of their bytes and eight random digits, and any one member back without reading the rest.
//! Invariants: a member is returned only when its bytes have its hash (I1); a pack once named is never written again.

mod contents;
mod index;
mod reference;
mod spool;
mod stream;

pub(crate) use contents::{Frame, Member, MemberKind, PackContents, TAR_END_BYTES, member_span, tar_header};
pub(crate) use index::{BlobReader, PackIndex, read_contents};
pub use reference::{PackKind, PackRef};
pub(crate) use reference::{PackName, is_pack_name, random_hex};
pub(crate) use spool::private_file;
pub use stream::FrameGroup;
pub(crate) use stream::PackStream;
