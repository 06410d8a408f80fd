//! One round of one-sided Jacobi: disjoint pairs of rows of `c` `[rows, width]` are rotated until
//! they are orthogonal, and the rows of `z` `[rows, rows]` with them. The pairs of round t are those
//! of a round-robin tournament, so that `rows - 1` rounds (rows even) meet every pair once. Parallel
//! over pairs.
//!
//! `squares` holds the squared lengths of the rows, which change with them; a negative one is not
//! known. Rows count as orthogonal if the cosine of their angle is below `epsilon sqrt(width)`.

use crate::vector64::{Plain, Vector};

/// The rows of a pair; the last player sits still.
fn pair(players: usize, round: usize, unit: usize) -> (usize, usize) {
    let wheel = players - 1;
    let p = (round + unit) % wheel;
    let q = if unit == 0 {
        wheel
    } else {
        (round + wheel - unit) % wheel
    };
    (p.min(q), p.max(q))
}

unsafe fn pairs<V: Vector>(
    c: *mut f64,
    z: *mut f64,
    rows: usize,
    width: usize,
    round: usize,
    squares: *mut f64,
    moved: *mut u8,
    begin: usize,
    end: usize,
) {
    let players = rows.div_ceil(2) * 2;
    for unit in begin..end {
        let (p, q) = pair(players, round, unit);
        if q >= rows {
            continue;
        }
        let (x, y) = (c.add(p * width), c.add(q * width));
        let length = |r: usize, row: *const f64| {
            if *squares.add(r) < 0.0 {
                *squares.add(r) = V::dot(row, row, width);
            }
            *squares.add(r)
        };
        let (xx, yy, xy) = (length(p, x), length(q, y), V::dot(x, y, width));
        let limit = f64::EPSILON * libm::sqrt(width as f64) * libm::sqrt(xx) * libm::sqrt(yy);
        if xy.abs() <= limit {
            continue;
        }
        let half = (yy - xx) / (2.0 * xy);
        let root = half.abs() + libm::sqrt(1.0 + half * half);
        let tangent = if half < 0.0 { -1.0 / root } else { 1.0 / root };
        let cos = 1.0 / libm::sqrt(1.0 + tangent * tangent);
        let sin = -cos * tangent;
        V::rotate(cos, sin, x, y, width);
        V::rotate(cos, sin, z.add(p * rows), z.add(q * rows), rows);
        (*squares.add(p), *squares.add(q)) = (-1.0, -1.0);
        *moved.add(unit) = 1;
    }
}

/// The definition.
pub unsafe fn scalar(
    c: *mut f64,
    z: *mut f64,
    rows: usize,
    width: usize,
    round: usize,
    squares: *mut f64,
    moved: *mut u8,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    pairs::<Plain>(c, z, rows, width, round, squares, moved, begin, end);
}

/// By SIMD128.
#[cfg(target_arch = "wasm32")]
pub unsafe fn simd(
    c: *mut f64,
    z: *mut f64,
    rows: usize,
    width: usize,
    round: usize,
    squares: *mut f64,
    moved: *mut u8,
    _scratch: *mut u8,
    begin: usize,
    end: usize,
) {
    pairs::<crate::vector64::Wide>(c, z, rows, width, round, squares, moved, begin, end);
}

#[cfg(test)]
mod tests {
    use super::pair;

    #[test]
    fn every_pair_meets_once() {
        for players in [2usize, 4, 10] {
            let mut met = vec![0; players * players];
            for round in 0..players - 1 {
                let mut seen = vec![false; players];
                for unit in 0..players / 2 {
                    let (p, q) = pair(players, round, unit);
                    assert!(p < q && !seen[p] && !seen[q]);
                    (seen[p], seen[q]) = (true, true);
                    met[p * players + q] += 1;
                }
            }
            assert_eq!(
                met.iter().sum::<i32>() as usize,
                players * (players - 1) / 2
            );
            assert!(met.iter().all(|&times| times <= 1));
        }
    }
}
