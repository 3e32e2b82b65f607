//! The hash chain over what was shipped: each link names its predecessor, so that a record that
//! was changed, left out, put in or moved is noticed by whoever has a later hash.
//!
//! hash = SHA-256(label ‖ previous ‖ length(writer) ‖ writer ‖ number ‖ length(body) ‖ body);
//! lengths and number are u64, big-endian. One chain for each writer, numbered from 1.

use aws_lc_rs::digest::{Context, SHA256};

const LABEL: &[u8] = b"latchstring audit chain 1\0";

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The end of a chain so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last link; 0 before the first.
    pub number: u64,
    pub hash: Hash,
}

impl Head {
    /// The head of a chain without links.
    pub const START: Head = Head { number: 0, hash: [0; 32] };
}

/// One link as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub number: u64,
    pub previous: Hash,
    pub hash: Hash,
    /// The canonical bytes, as they came from the journal.
    pub body: &'a [u8],
}

/// Where a chain does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("link {expected} is missing, {found} follows: records were deleted or put in")]
    Gap { expected: u64, found: u64 },
    #[error("link {number} does not name its predecessor: a record before it was changed")]
    Previous { number: u64 },
    #[error("link {number} is not what was hashed: its record was changed")]
    Changed { number: u64 },
}

/// The hash of link `number` of `writer`'s chain.
pub fn next(previous: Hash, writer: &str, number: u64, body: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(LABEL);
    context.update(&previous);
    context.update(&(writer.len() as u64).to_be_bytes());
    context.update(writer.as_bytes());
    context.update(&number.to_be_bytes());
    context.update(&(body.len() as u64).to_be_bytes());
    context.update(body);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Checks links that follow `from` ([`Head::START`], or the signed anchor before which records
/// were cut away) and gives the new head. What is missing at the end only a head kept elsewhere shows.
pub fn verify<'a>(
    writer: &str,
    from: Head,
    links: impl IntoIterator<Item = Link<'a>>,
) -> Result<Head, Broken> {
    let mut head = from;
    for link in links {
        let expected = head.number.saturating_add(1);
        if link.number != expected {
            return Err(Broken::Gap { expected, found: link.number });
        }
        if link.previous != head.hash {
            return Err(Broken::Previous { number: link.number });
        }
        if next(head.hash, writer, link.number, link.body) != link.hash {
            return Err(Broken::Changed { number: link.number });
        }
        head = Head { number: link.number, hash: link.hash };
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BODIES: [&[u8]; 4] = [b"{\"a\":1}", b"{\"b\":2}", b"", b"{\"d\":4}"];

    fn links() -> Vec<Link<'static>> {
        let mut head = Head::START;
        let mut links = Vec::new();
        for body in BODIES {
            let number = head.number + 1;
            let hash = next(head.hash, "srv_x.0", number, body);
            links.push(Link { number, previous: head.hash, hash, body });
            head = Head { number, hash };
        }
        links
    }

    /// Computed with Python's hashlib over the bytes that the module's page describes.
    #[test]
    fn the_hash_is_the_one_described() {
        let hash = next([0; 32], "srv_x.0", 1, b"{\"a\":1}");
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1b6eea9b6b2b6c3c635592d5131348d4c76541622359f35fa0d6393fea318f4f");
    }

    #[test]
    fn a_whole_chain_holds_also_behind_an_anchor() {
        let links = links();
        let end = Head { number: 4, hash: links[3].hash };
        assert_eq!(verify("srv_x.0", Head::START, links.clone()), Ok(end));
        let anchor = Head { number: 2, hash: links[1].hash };
        assert_eq!(verify("srv_x.0", anchor, links[2..].to_vec()), Ok(end));
        assert_eq!(verify("srv_x.0", Head::START, []), Ok(Head::START));
    }

    #[test]
    fn every_change_is_noticed() {
        let good = links();
        let check = |links: Vec<Link<'static>>| verify("srv_x.0", Head::START, links).unwrap_err();

        for index in 0..good.len() {
            let mut changed = good.clone();
            changed[index].body = b"{\"a\":2}";
            assert_eq!(check(changed), Broken::Changed { number: index as u64 + 1 });

            // Changed and hashed anew: the successor notices, the last link's holder does.
            let mut rehashed = good.clone();
            let link = rehashed[index];
            rehashed[index].body = b"{\"x\":0}";
            rehashed[index].hash = next(link.previous, "srv_x.0", link.number, b"{\"x\":0}");
            match verify("srv_x.0", Head::START, rehashed) {
                Err(broken) => assert_eq!(broken, Broken::Previous { number: index as u64 + 2 }),
                Ok(head) => assert!(index == 3 && head.hash != good[3].hash),
            }
        }
        let mut without = good.clone();
        without.remove(1);
        assert_eq!(check(without), Broken::Gap { expected: 2, found: 3 });
        let mut swapped = good.clone();
        swapped.swap(1, 2);
        assert_eq!(check(swapped), Broken::Gap { expected: 2, found: 3 });
        let mut twice = good.clone();
        twice.insert(1, good[0]);
        assert_eq!(check(twice), Broken::Gap { expected: 2, found: 1 });
        // Another writer's chain under this name.
        assert_eq!(verify("srv_y.0", Head::START, good), Err(Broken::Changed { number: 1 }));
    }
}
