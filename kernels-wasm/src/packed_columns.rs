//! The columns of a panel of packed codes as f32: what `linear_packed` multiplies by.

use crate::codes::codes_of_group;
use crate::decode::gather16;
use crate::lanes::{load, widen_to_f32_2p23, Planes};
use crate::panels::PANEL;
use core::arch::wasm32::*;

/// 2^23: f32 from here on are whole numbers, so the lowest bits hold a small integer.
pub const TWO_23: f32 = 8_388_608.0;

/// How a code becomes its table entry.
#[derive(Clone, Copy)]
pub enum Table {
    /// Up to 16 entries: by swizzle.
    Small(Planes),
    /// The integer `code + base`, zero points being integers too: `code - (zero - base)`
    /// is exact, so it may be computed as `(2^23 + code) - (2^23 + (zero - base))`.
    Integer { base: f32 },
    /// Anything else: by loads.
    Large(*const f32),
}

/// One panel of a weight.
pub struct Weight {
    pub codes: *const u8,
    pub bits: u32,
    pub table: Table,
    pub scales: *const f32,
    pub zeros: *const f32,
    pub minimums: *const f32,
    pub group: usize,
}

/// The codes of 16 rows for columns `first..first + depth` (8 at a time), `[depth][16]`.
unsafe fn unpack<const BITS: u32>(codes: *const u8, first: usize, depth: usize, out: *mut u8) {
    for k in (0..depth).step_by(8) {
        let group = codes.add((first + k) / 8 * PANEL * BITS as usize);
        for (j, codes) in codes_of_group::<BITS>(group).into_iter().enumerate() {
            v128_store(out.add((k + j) * PANEL) as *mut v128, codes);
        }
    }
}

/// The codes of a chunk, `[depth][16]`: where they are, if they are bytes, or in scratch.
pub unsafe fn chunk_codes(
    weight: &Weight,
    first: usize,
    depth: usize,
    scratch: *mut u8,
) -> *const u8 {
    let unpack = match weight.bits {
        1 => unpack::<1>,
        2 => unpack::<2>,
        3 => unpack::<3>,
        4 => unpack::<4>,
        5 => unpack::<5>,
        6 => unpack::<6>,
        7 => unpack::<7>,
        _ => return weight.codes.add(first * PANEL),
    };
    unpack(weight.codes, first, depth, scratch);
    scratch
}

/// Calls `sink(k, values)` with the 16 values of each column of a chunk.
#[inline(always)]
pub unsafe fn each_column<const MINIMUMS: bool>(
    weight: &Weight,
    first: usize,
    depth: usize,
    codes: *const u8,
    mut sink: impl FnMut(usize, [v128; 4]),
) {
    let mut k = 0;
    while k < depth {
        let group = (first + k) / weight.group;
        let last = ((group + 1) * weight.group - first).min(depth);
        let scales = four(weight.scales, group);
        let zeros = if weight.zeros.is_null() {
            [f32x4_splat(0.0); 4]
        } else {
            four(weight.zeros, group)
        };
        let grid = Grid {
            zeros,
            scales,
            minimums: if MINIMUMS {
                four(weight.minimums, group)
            } else {
                zeros
            },
        };
        match weight.table {
            Table::Small(planes) => each::<MINIMUMS>(codes, k, last, &grid, &mut sink, |at| {
                planes.lookup(v128_load(at as *const v128))
            }),
            Table::Integer { base } => {
                let zeros = zeros.map(|zero| f32x4_add(zero, f32x4_splat(TWO_23 - base)));
                each::<MINIMUMS>(codes, k, last, &Grid { zeros, ..grid }, &mut sink, |at| {
                    widen_to_f32_2p23(v128_load(at as *const v128))
                })
            }
            Table::Large(table) => each::<MINIMUMS>(codes, k, last, &grid, &mut sink, |at| {
                gather16(at, table, 255)
            }),
        }
        k = last;
    }
}

/// What the 16 rows of a group of columns have.
pub struct Grid {
    pub zeros: [v128; 4],
    pub scales: [v128; 4],
    pub minimums: [v128; 4],
}

impl Grid {
    /// The weights of four table entries.
    #[inline(always)]
    pub fn weights<const MINIMUMS: bool>(&self, i: usize, entries: v128) -> v128 {
        let value = f32x4_mul(f32x4_sub(entries, self.zeros[i]), self.scales[i]);
        if MINIMUMS {
            f32x4_add(value, self.minimums[i])
        } else {
            value
        }
    }
}

#[inline(always)]
unsafe fn each<const MINIMUMS: bool>(
    codes: *const u8,
    from: usize,
    to: usize,
    grid: &Grid,
    sink: &mut impl FnMut(usize, [v128; 4]),
    entries: impl Fn(*const u8) -> [v128; 4],
) {
    for k in from..to {
        let values = entries(codes.add(k * PANEL));
        sink(
            k,
            core::array::from_fn(|v| grid.weights::<MINIMUMS>(v, values[v])),
        );
    }
}

/// The vectors of the 16 rows of a group.
#[inline(always)]
pub unsafe fn four(p: *const f32, group: usize) -> [v128; 4] {
    let p = p.add(group * PANEL);
    [load(p), load(p.add(4)), load(p.add(8)), load(p.add(12))]
}

/// Sixteen values as those of even rows, then those of odd rows.
#[inline(always)]
pub fn by_parity([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    [
        i32x4_shuffle::<0, 2, 4, 6>(a, b),
        i32x4_shuffle::<0, 2, 4, 6>(c, d),
        i32x4_shuffle::<1, 3, 5, 7>(a, b),
        i32x4_shuffle::<1, 3, 5, 7>(c, d),
    ]
}
