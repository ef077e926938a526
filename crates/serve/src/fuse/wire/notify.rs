//! What the kernel is told without having asked: that something it remembers is no longer so.

use super::reply;

const INVALIDATE_INODE: i32 = 2;
const INVALIDATE_ENTRY: i32 = 3;
const PRUNE: i32 = 9;

/// Ends what is remembered of an inode's attributes and, from `offset` on, of its content: `length` bytes of it, or all that follow
/// for 0. A negative offset leaves the content alone.
pub(in crate::fuse) fn invalidate_inode(node: u64, offset: i64, length: i64) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&header(40, INVALIDATE_INODE));
    bytes[16..24].copy_from_slice(&node.to_ne_bytes());
    bytes[24..32].copy_from_slice(&offset.to_ne_bytes());
    bytes[32..].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// Ends what is remembered of a name in a directory.
pub(in crate::fuse) fn invalidate_entry(parent: u64, name: &[u8]) -> Vec<u8> {
    let length = 16 + 16 + name.len() + 1;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&header(length, INVALIDATE_ENTRY));
    bytes.extend_from_slice(&parent.to_ne_bytes());
    bytes.extend_from_slice(&(name.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(name);
    bytes.push(0);
    bytes
}

/// Asks the kernel to forget inodes that nobody uses (Linux 6.18).
pub(in crate::fuse) fn prune(nodes: &[u64]) -> Vec<u8> {
    let length = 16 + 16 + nodes.len() * 8;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&header(length, PRUNE));
    bytes.extend_from_slice(&(nodes.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&[0; 4 + 8]);
    nodes.iter().for_each(|node| bytes.extend_from_slice(&node.to_ne_bytes()));
    bytes
}

/// In place of a request's number stands 0, and the kind where an answer has its error.
fn header(length: usize, kind: i32) -> [u8; reply::HEADER_BYTES] {
    reply::header(length, 0, -kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_has_its_kind_for_an_error_and_no_request() {
        let inode = invalidate_inode(7, -1, 0);
        assert_eq!(inode[..4], 40_u32.to_ne_bytes());
        assert_eq!(inode[4..8], 2_i32.to_ne_bytes());
        assert_eq!(inode[8..16], [0; 8]);
        assert_eq!(inode[24..32], (-1_i64).to_ne_bytes());
    }

    #[test]
    fn a_name_ends_with_a_nul_that_is_not_counted() {
        let entry = invalidate_entry(1, b"name");
        assert_eq!(entry.len(), 37);
        assert_eq!(entry[..4], 37_u32.to_ne_bytes());
        assert_eq!(entry[4..8], 3_i32.to_ne_bytes());
        assert_eq!(entry[24..28], 4_u32.to_ne_bytes());
        assert_eq!(&entry[32..], b"name\0");
    }
}
