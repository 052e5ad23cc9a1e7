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
        let mut whole = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                whole = node(&left, &whole);
            }
        }
        self.peaks.push(whole);
        self.size += 1;
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
/// root. Reads the leaves once, in order; none where there are fewer.
pub(crate) fn inclusion<E>(
    leaves: &mut impl Iterator<Item = Result<Hash, E>>,
    index: u64,
    size: u64,
) -> Result<Option<(Vec<Hash>, Hash)>, E> {
    if size <= 1 {
        return Ok(leaves.next().transpose()?.map(|leaf| (Vec::new(), leaf)));
    }
    // The largest power of two below the size: the left subtree is whole.
    let left_size = 1 << (u64::BITS - 1 - (size - 1).leading_zeros());
    if index < left_size {
        let Some((mut path, left)) = inclusion(leaves, index, left_size)? else { return Ok(None) };
        let Some(right) = root_of(leaves, size - left_size)? else { return Ok(None) };
        path.push(right);
        return Ok(Some((path, node(&left, &right))));
    }
    let Some(left) = root_of(leaves, left_size)? else { return Ok(None) };
    let Some((mut path, right)) = inclusion(leaves, index - left_size, size - left_size)? else { return Ok(None) };
    path.push(left);
    Ok(Some((path, node(&left, &right))))
}

fn root_of<E>(leaves: &mut impl Iterator<Item = Result<Hash, E>>, size: u64) -> Result<Option<Hash>, E> {
    let mut tree = Tree::default();
    while tree.size() < size {
        match leaves.next().transpose()? {
            Some(leaf) => tree.push(leaf),
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
