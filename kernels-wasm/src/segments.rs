//! Segments of the columns of an integer weight: what `linear_grouped` scales once. A group (the
//! columns that share a scale) is cut into segments of at most 256 columns. In memory every group
//! is padded with zeros to a multiple of 8 columns, as in `integer_layout.rs`, so segments follow
//! each other without gaps.

/// The most columns of a segment.
pub const SEGMENT: usize = 256;

/// Whether codes are multiplied as they stand in 32-bit lanes, four columns of a row in each: of one
/// token, with the usual widths.
pub fn in_lanes(tokens: usize, bits: u32) -> bool {
    tokens == 1 && matches!(bits, 2 | 4 | 8)
}

/// Segments of a group.
pub fn of_group(columns: usize) -> usize {
    columns.div_ceil(SEGMENT)
}

/// Segments of a row.
pub fn of_row(columns: usize, group: usize, groups: usize) -> usize {
    of_group(group) * (groups - 1) + of_group(columns - group * (groups - 1))
}

/// A segment: its group, its first column, how many it has, and how many with padding.
#[derive(Clone, Copy)]
pub struct Segment {
    pub group: usize,
    pub first: usize,
    pub count: usize,
    pub padded: usize,
}

/// The segments of a row, in order.
pub fn each(columns: usize, group: usize, groups: usize) -> impl Iterator<Item = Segment> {
    (0..groups).flat_map(move |g| {
        let start = g * group;
        let size = group.min(columns - start);
        (0..size).step_by(SEGMENT).map(move |offset| {
            let count = SEGMENT.min(size - offset);
            Segment {
                group: g,
                first: start + offset,
                count,
                padded: count.next_multiple_of(8),
            }
        })
    })
}
