//! Finding and reading one member among many packs.
//!
//! In: tables of contents. Out: a blob by its hash, with only the frames decoded that it overlaps.
//! Invariants: what is returned has the hash that was asked for (I1); a frame is at most 1 MiB and a member that is
//! read whole at most 64 MiB, whatever the pack claims, so a hostile pack cannot make a reader allocate more than that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::super::backend::Backend;
use super::super::error::StoreError;
use super::super::hash::ContentHash;
use super::super::segments::SEGMENT_BYTES;
use super::contents::{FOOTER_BYTES, Frame, MemberKind, PackContents, member_span};
use super::reference::PackRef;
use super::spool::Spool;

/// Read from a pack's end at once: the table of contents of a thousand members.
const TABLE_GUESS: u64 = 64 << 10;
/// Decoded frames kept: neighbours in a tree are neighbours in a pack.
const CACHED_FRAMES: usize = 8;
/// Packs whose tables are read at the same time.
const PARALLEL_TABLES: usize = 8;
/// No member is larger than a segment of a big file.
const MAX_MEMBER_BYTES: u64 = SEGMENT_BYTES;

/// Where a pack's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum PackSource {
    /// In the repository.
    Stored { backend: Arc<dyn Backend>, name: String },
    /// Not finished, or never to be.
    Spool(Arc<Spool>),
}

impl PackSource {
    fn name(&self) -> String {
        match self {
            Self::Stored { name, .. } => name.clone(),
            Self::Spool(spool) => format!("{spool:?}"),
        }
    }

    async fn read(&self, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        match self {
            Self::Stored { backend, name } => Ok(backend.read_range(name, offset, length).await?.into()),
            Self::Spool(spool) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                spool
                    .read_at(offset, length)
                    .map_err(|source| StoreError::Local { operation: "read a spooled pack", source })
            }
        }
    }
}

/// Reads the table of contents of a stored pack.
pub(crate) async fn read_contents(backend: &dyn Backend, pack: &PackRef) -> Result<PackContents, StoreError> {
    let damaged = |what: &str| StoreError::Damaged { file: pack.name.clone(), what: what.to_owned() };
    let mut wanted = TABLE_GUESS.max(FOOTER_BYTES as u64).min(pack.size);
    loop {
        let end = backend.read_range(&pack.name, pack.size - wanted, wanted).await?;
        if end.len() as u64 != wanted {
            return Err(damaged("it is shorter than the log says"));
        }
        match PackContents::decode(&end, pack.size).map_err(damaged)? {
            Ok(contents) => return Ok(contents),
            Err(needed) if needed > wanted => wanted = needed,
            Err(_) => return Err(damaged("its table of contents is not where it says")),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct FrameSpan {
    offset: u64,
    length: u32,
    raw_offset: u64,
    raw_length: u32,
}

#[derive(Clone, Copy, Debug)]
struct BlobPlace {
    pack: u32,
    raw_offset: u64,
    size: u64,
}

#[derive(Debug)]
struct IndexedPack {
    source: PackSource,
    reference: Option<PackRef>,
    frames: Vec<FrameSpan>,
}

/// What a set of packs holds.
#[derive(Debug, Default)]
pub(crate) struct PackIndex {
    packs: Vec<IndexedPack>,
    /// By kind too: a content can have the bytes of a tree (an empty file and an empty list), and to read the one
    /// where the other lies would be right, but `restore.sh` goes by their names.
    blobs: HashMap<(MemberKind, ContentHash), BlobPlace>,
}

impl PackIndex {
    /// Reads the tables of stored packs.
    pub(crate) async fn load(backend: &Arc<dyn Backend>, packs: &[PackRef]) -> Result<Self, StoreError> {
        let mut index = Self::default();
        // Owned values: a future that borrows through a stream cannot be spawned.
        let mut tables = futures::stream::iter(packs.to_vec())
            .map(|pack| {
                let backend = Arc::clone(backend);
                async move {
                    let contents = read_contents(&*backend, &pack).await?;
                    Ok::<_, StoreError>((pack, contents))
                }
            })
            .buffered(PARALLEL_TABLES);
        while let Some((pack, contents)) = tables.try_next().await? {
            let source = PackSource::Stored { backend: Arc::clone(backend), name: pack.name.clone() };
            index.add_pack(source, Some(pack), &contents);
        }
        Ok(index)
    }

    fn add_pack(&mut self, source: PackSource, reference: Option<PackRef>, contents: &PackContents) {
        let number = self.begin_pack(source);
        let mut raw_offset = 0;
        for member in &contents.members {
            if member.kind != MemberKind::Snapshot {
                self.add_member(number, member.kind, member.hash, raw_offset, member.size);
            }
            raw_offset += member_span(member.size);
        }
        for frame in &contents.frames {
            self.add_frame(number, *frame);
        }
        self.end_pack(number, reference, None);
    }

    /// A pack whose members are yet to come.
    pub(crate) fn begin_pack(&mut self, source: PackSource) -> u32 {
        self.packs.push(IndexedPack { source, reference: None, frames: Vec::new() });
        u32::try_from(self.packs.len() - 1).unwrap_or(u32::MAX)
    }

    /// A member whose header begins at `raw_offset` of the pack's tar stream.
    pub(crate) fn add_member(&mut self, pack: u32, kind: MemberKind, hash: ContentHash, raw_offset: u64, size: u64) {
        self.blobs.entry((kind, hash)).or_insert(BlobPlace { pack, raw_offset, size });
    }

    /// The next frame of a pack.
    pub(crate) fn add_frame(&mut self, pack: u32, frame: Frame) {
        let Some(pack) = self.packs.get_mut(pack as usize) else { return };
        let (offset, raw_offset) = pack.frames.last().map_or((0, 0), |last| {
            (last.offset + u64::from(last.length), last.raw_offset + u64::from(last.raw_length))
        });
        pack.frames.push(FrameSpan { offset, length: frame.compressed, raw_offset, raw_length: frame.raw });
    }

    /// A pack that has its name, and perhaps moved.
    pub(crate) fn end_pack(&mut self, pack: u32, reference: Option<PackRef>, moved: Option<PackSource>) {
        let Some(pack) = self.packs.get_mut(pack as usize) else { return };
        pack.reference = reference;
        if let Some(source) = moved {
            pack.source = source;
        }
    }

    pub(crate) fn contains(&self, kind: MemberKind, hash: &ContentHash) -> bool {
        self.blobs.contains_key(&(kind, *hash))
    }

    /// The pack that holds a blob, by its place in [`Self::packs`].
    pub(crate) fn pack_of(&self, kind: MemberKind, hash: &ContentHash) -> Option<usize> {
        self.blobs.get(&(kind, *hash)).map(|place| place.pack as usize)
    }

    /// Where bytes with this hash lie; of a content and a tree with the same bytes, either will do.
    fn place_of(&self, hash: &ContentHash) -> Option<&BlobPlace> {
        let of = |kind| self.blobs.get(&(kind, *hash));
        of(MemberKind::Object).or_else(|| of(MemberKind::Tree))
    }

    /// Every pack that has a name.
    pub(crate) fn packs(&self) -> impl Iterator<Item = (usize, &PackRef)> {
        self.packs.iter().enumerate().filter_map(|(number, pack)| Some((number, pack.reference.as_ref()?)))
    }
}

/// Identifies a frame: layer, pack, number.
type FrameKey = (usize, u32, usize);

/// Reads blobs from several indexes, the newest first.
#[derive(Debug)]
pub(crate) struct BlobReader {
    layers: Vec<Arc<PackIndex>>,
    cache: Mutex<VecDeque<(FrameKey, Bytes)>>,
}

impl BlobReader {
    pub(crate) fn new(layers: Vec<Arc<PackIndex>>) -> Self {
        Self { layers, cache: Mutex::default() }
    }

    pub(crate) fn layers(&self) -> &[Arc<PackIndex>] {
        &self.layers
    }

    pub(crate) fn contains(&self, kind: MemberKind, hash: &ContentHash) -> bool {
        self.layers.iter().any(|layer| layer.contains(kind, hash))
    }

    /// How many bytes a member has, by the table of contents of its pack.
    pub(crate) fn size(&self, hash: &ContentHash) -> Option<u64> {
        self.layers.iter().find_map(|layer| Some(layer.place_of(hash)?.size))
    }

    /// A member's bytes, checked against its hash.
    pub(crate) async fn read(&self, hash: &ContentHash) -> Result<Bytes, StoreError> {
        let found = self.layers.iter().enumerate().find_map(|(number, layer)| {
            let place = layer.place_of(hash)?;
            Some((number, *place, layer.packs.get(place.pack as usize)?))
        });
        let (layer, place, pack) = found.ok_or(StoreError::ContentMissing { hash: *hash })?;
        if place.size > MAX_MEMBER_BYTES {
            let what = format!("it claims that {hash} has {} bytes, more than any member has", place.size);
            return Err(StoreError::Damaged { file: pack.source.name(), what });
        }
        let start = place.raw_offset + super::contents::member_span(0);
        let end = start + place.size;
        let first = pack.frames.partition_point(|frame| frame.raw_offset + u64::from(frame.raw_length) <= start);
        let mut content = Vec::new();
        let mut whole = None;
        for (number, span) in pack.frames.iter().enumerate().skip(first) {
            if span.raw_offset >= end {
                break;
            }
            let raw = self.frame((layer, place.pack, number), pack, *span).await?;
            let from = usize::try_from(start.saturating_sub(span.raw_offset)).unwrap_or(usize::MAX);
            let to = usize::try_from(end - span.raw_offset).unwrap_or(usize::MAX).min(raw.len());
            if from > to {
                break;
            }
            if (to - from) as u64 == place.size {
                whole = Some(raw.slice(from..to));
                break;
            }
            content.extend_from_slice(raw.get(from..to).unwrap_or_default());
        }
        let content = whole.unwrap_or_else(|| content.into());
        if ContentHash::of(&content) != *hash {
            let what = format!("it does not hold {hash} where its table of contents says");
            return Err(StoreError::Damaged { file: pack.source.name(), what });
        }
        Ok(content)
    }

    async fn frame(&self, key: FrameKey, pack: &IndexedPack, span: FrameSpan) -> Result<Bytes, StoreError> {
        if let Some(found) = self.cached(key) {
            return Ok(found);
        }
        let compressed = pack.source.read(span.offset, u64::from(span.length)).await?;
        let raw_length = span.raw_length as usize;
        let raw = tokio::task::spawn_blocking(move || zstd::bulk::decompress(&compressed, raw_length))
            .await
            .map_err(|stopped| StoreError::Local { operation: "decompress", source: std::io::Error::other(stopped) })?;
        let raw = raw.ok().filter(|raw| raw.len() == raw_length).ok_or_else(|| StoreError::Damaged {
            file: pack.source.name(),
            what: format!("the frame at {} does not decompress", span.offset),
        })?;
        let raw = Bytes::from(raw);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.truncate(CACHED_FRAMES - 1);
        cache.push_front((key, raw.clone()));
        Ok(raw)
    }

    fn cached(&self, key: FrameKey) -> Option<Bytes> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cache.iter().position(|(other, _)| *other == key)?;
        let entry = cache.remove(at)?;
        let bytes = entry.1.clone();
        cache.push_front(entry);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contents::{Frame, zstd_frame};
    use super::super::spool::Spool;
    use super::{BlobReader, PackIndex, PackSource};
    use crate::store::{ContentHash, StoreError};

    /// A pack of one member whose table of contents says what it likes.
    async fn read(raw: &[u8], claimed_raw: u32, claimed_size: u64) -> Result<usize, String> {
        let spool = Arc::new(Spool::new(None).unwrap());
        let compressed = zstd_frame(raw, 3).unwrap();
        spool.append(&compressed).unwrap();
        let mut index = PackIndex::default();
        let pack = index.begin_pack(PackSource::Spool(spool));
        let hash = ContentHash::of(raw.get(512..).unwrap());
        index.add_member(pack, super::MemberKind::Object, hash, 0, claimed_size);
        index.add_frame(pack, Frame { compressed: u32::try_from(compressed.len()).unwrap(), raw: claimed_raw });
        let reader = BlobReader::new(vec![Arc::new(index)]);
        match reader.read(&hash).await {
            Ok(bytes) => Ok(bytes.len()),
            Err(StoreError::Damaged { what, .. }) => Err(what),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_frame_never_becomes_more_than_its_table_says() {
        let honest = vec![b'x'; 1024];
        assert_eq!(read(&honest, 1024, 512).await, Ok(512));
        let bomb = vec![b'x'; 64 << 20];
        let refused = read(&bomb, 1024, 512).await.unwrap_err();
        assert!(refused.contains("does not decompress"), "{refused}");
    }

    #[tokio::test]
    async fn a_member_that_claims_more_than_any_has_is_refused_before_a_frame_is_read() {
        let refused = read(&vec![b'x'; 1024], 1024, (64 << 20) + 1).await.unwrap_err();
        assert!(refused.contains("more than any member has"), "{refused}");
    }
}
