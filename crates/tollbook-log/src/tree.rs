//! The Merkle tree of RFC 6962 over an instance's records, in order of sequence.
//!
//! A record's leaf is the hash of its canonical bytes, and its place is its sequence number, so the
//! tree doesn't know in which file a record lies: sealing and compaction leave it as it is. While a
//! log is written only the roots of the whole subtrees are kept, one for each bit of the size.
//!
//! About a hundred lines of hashing, so no crate: those that exist bring a store or an async runtime.

use sha2::{Digest, Sha256};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// Longest path in any tree: one hash for each bit of a size.
pub(crate) const PATH_MAX: usize = 64;

/// `SHA-256(0x00 || record)`: so that no record can pass for a node.
pub(crate) fn leaf(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// `SHA-256(0x01 || left || right)`
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that grows, as the roots of its whole subtrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    /// Largest first; their sizes are the bits of `size`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// Adds the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_whole(leaf, 0);
    }

    /// Adds the next 2^`height` leaves by their root. The size must be a multiple of their number.
    fn push_whole(&mut self, root: Hash, height: u32) {
        let mut whole = root;
        for _ in 0..self.size.checked_shr(height).unwrap_or(0).trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                whole = node(&left, &whole);
            }
        }
        self.peaks.push(whole);
        self.size = self.size.saturating_add(1_u64.checked_shl(height).unwrap_or(0));
    }

    /// The tree of this size whose whole subtrees have these roots, the largest first; none where their number
    /// isn't that of the size's bits.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == usize::try_from(size.count_ones()).ok()?).then_some(Self { size, peaks })
    }

    /// The roots of the whole subtrees, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The same with the height of each.
    fn pieces(&self) -> impl Iterator<Item = (u32, Hash)> {
        let heights = (0..u64::BITS).rev().filter(|height| self.size >> height & 1 == 1);
        heights.zip(self.peaks.iter().copied())
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
            None => Sha256::digest([]).into(),
        }
    }

    /// The tree over some records.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut tree = Self::default();
        records.into_iter().for_each(|record| tree.push(leaf(record)));
        tree
    }
}

/// The path from the leaf at `index` to the root of the tree over `size` leaves, nearest first, and that
/// root. Of the leaves, `before` holds the first; the others are read once, in order. None where there are
/// fewer, or the leaf is one that only `before` holds.
pub(crate) fn inclusion<E>(
    before: &Tree,
    leaves: &mut impl Iterator<Item = Result<Hash, E>>,
    index: u64,
    size: u64,
) -> Result<Option<(Vec<Hash>, Hash)>, E> {
    if index < before.size {
        return Ok(None);
    }
    let pieces = before.pieces().map(Ok);
    path(&mut pieces.chain(leaves.map(|leaf| leaf.map(|leaf| (0, leaf)))), index, size)
}

/// A piece is the root over 2^height leaves, which never lie on two sides of a split.
fn path<E>(
    leaves: &mut impl Iterator<Item = Result<(u32, Hash), E>>,
    index: u64,
    size: u64,
) -> Result<Option<(Vec<Hash>, Hash)>, E> {
    if size <= 1 {
        return Ok(leaves.next().transpose()?.map(|(_, leaf)| (Vec::new(), leaf)));
    }
    // The largest power of two below the size: the left subtree is whole.
    let left_size = 1 << (u64::BITS - 1 - (size - 1).leading_zeros());
    if index < left_size {
        let Some((mut nearer, left)) = path(leaves, index, left_size)? else { return Ok(None) };
        let Some(right) = root_of(leaves, size - left_size)? else { return Ok(None) };
        nearer.push(right);
        return Ok(Some((nearer, node(&left, &right))));
    }
    let Some(left) = root_of(leaves, left_size)? else { return Ok(None) };
    let Some((mut nearer, right)) = path(leaves, index - left_size, size - left_size)? else { return Ok(None) };
    nearer.push(left);
    Ok(Some((nearer, node(&left, &right))))
}

fn root_of<E>(leaves: &mut impl Iterator<Item = Result<(u32, Hash), E>>, size: u64) -> Result<Option<Hash>, E> {
    let mut tree = Tree::default();
    while tree.size() < size {
        match leaves.next().transpose()? {
            Some((height, root)) => tree.push_whole(root, height),
            None => return Ok(None),
        }
    }
    Ok(Some(tree.root()))
}

/// The root that a leaf and its path lead to, as RFC 9162 has it in section 2.1.3.2; none where the path
/// isn't one of this place in a tree of this size.
pub(crate) fn root_from_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let mut at = index;
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut root = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node(sibling, &root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests;
