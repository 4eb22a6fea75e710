//! Damage to seed files, by keyed random numbers.

use umt_random::Rng;

/// Input `number` of a target.
pub fn input(target: &str, number: u64, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut random = umt_random::stream(20, target, number, 0);
    let mut bytes = seeds[random.below(seeds.len() as u64) as usize].1.clone();
    // One change alone gets deeper into a parser than many.
    for _ in 0..1 + random.below(6) * random.below(2) {
        change(&mut bytes, seeds, &mut random);
    }
    bytes
}

/// Numbers at the edges of their types, which lengths and counts turn bad at.
const EDGES: [u64; 10] = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 63, u64::MAX];

fn change(bytes: &mut Vec<u8>, seeds: &[(String, Vec<u8>)], random: &mut Rng) {
    if bytes.is_empty() {
        bytes.push(random.next_u64() as u8);
        return;
    }
    // Headers are where a change matters most.
    let span = if random.below(2) == 0 { bytes.len().min(600) } else { bytes.len() };
    let at = random.below(span as u64) as usize;
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next_u64() as u8,
        2 => {
            let width = 1 << random.below(4);
            let edge = EDGES[random.below(EDGES.len() as u64) as usize];
            let word = if random.below(2) == 0 {
                edge.to_le_bytes()
            } else {
                edge.rotate_right(8 * width as u32 % 64).to_be_bytes()
            };
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&word[..end - at]);
        }
        3 => {
            let end = bytes.len().min(at + 1 + random.below(40) as usize);
            bytes.drain(at..end);
        }
        4 => {
            let piece: Vec<u8> = (0..1 + random.below(16)).map(|_| random.next_u64() as u8).collect();
            bytes.splice(at..at, piece);
        }
        5 => bytes.truncate(at.max(1)),
        6 => {
            // A piece of another seed of the same kind.
            let other = &seeds[random.below(seeds.len() as u64) as usize].1;
            let from = random.below(other.len().max(1) as u64) as usize;
            let piece = &other[from.min(other.len())..other.len().min(from + 64)];
            let end = bytes.len().min(at + piece.len());
            bytes[at..end].copy_from_slice(&piece[..end - at]);
        }
        _ => {
            let length = random.below(64) as usize;
            let piece = bytes[at..bytes.len().min(at + length)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
