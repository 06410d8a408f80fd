//! Eigenvalues of a symmetric tridiagonal matrix by implicit QR steps with Wilkinson's shift. The
//! rotations are written down, so that `rotate` can apply them to eigenvectors on all threads.

use wasm_bindgen::prelude::wasm_bindgen;

/// Numbers of a rotation: its first row, cosine, sine.
pub const ROTATION: usize = 3;
/// Steps an eigenvalue may take on average before it is given up.
const MAX_STEPS: usize = 40;

/// The rotation `[c s; -s c]` that turns `(x, z)` into `(r, 0)`.
fn givens(x: f64, z: f64) -> (f64, f64, f64) {
    if z == 0.0 {
        return (1.0, 0.0, x);
    }
    let scale = x.abs().max(z.abs());
    let (p, q) = (x / scale, z / scale);
    let r = libm::sqrt(p * p + q * q);
    (p / r, q / r, r * scale)
}

/// The eigenvalue of the last 2x2 block that is nearer to its last entry.
fn shift(a: f64, b: f64, e: f64) -> f64 {
    let half = (a - b) / 2.0;
    let scale = half.abs().max(e.abs());
    let (p, q) = (half / scale, e / scale);
    let root = libm::sqrt(p * p + q * q) * scale;
    b - e / (half + if half < 0.0 { -root } else { root }) * e
}

/// Runs steps until all is diagonal or `rotations` (with room for `capacity`, at least n) is full.
/// `state` is `[active size, steps so far]`, at first `[n, 0]`. Returns the number of rotations, or
/// -1 if it does not converge. All is done when `state[0]` is below 2.
#[wasm_bindgen]
pub fn tridiagonal_qr(
    d: *mut f64,
    e: *mut f64,
    n: usize,
    state: *mut f64,
    rotations: *mut f64,
    capacity: usize,
) -> i32 {
    unsafe {
        let (d, e) = (
            core::slice::from_raw_parts_mut(d, n),
            core::slice::from_raw_parts_mut(e, n),
        );
        let small = |d: &[f64], e: &[f64], i: usize| {
            e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs())
        };
        let mut size = *state as usize;
        let mut count = 0;
        loop {
            while size > 1 && small(d, e, size - 2) {
                size -= 1;
            }
            *state = size as f64;
            if size < 2 || count + size > capacity {
                return count as i32;
            }
            *state.add(1) += 1.0;
            if *state.add(1) > (MAX_STEPS * n) as f64 {
                return -1;
            }
            let last = size - 1;
            let mut first = last - 1;
            while first > 0 && !small(d, e, first - 1) {
                first -= 1;
            }
            let mut x = d[first] - shift(d[last - 1], d[last], e[last - 1]);
            let mut z = e[first];
            for k in first..last {
                let (c, s, r) = givens(x, z);
                if k > first {
                    e[k - 1] = r;
                }
                let (p, q, off) = (d[k], d[k + 1], e[k]);
                let turn = s * (q - p) + 2.0 * c * off;
                d[k] = p + s * turn;
                d[k + 1] = q - s * turn;
                e[k] = c * turn - off;
                x = e[k];
                if k + 1 < last {
                    z = s * e[k + 1];
                    e[k + 1] *= c;
                }
                let at = rotations.add(count * ROTATION);
                *at = k as f64;
                *at.add(1) = c;
                *at.add(2) = s;
                count += 1;
            }
        }
    }
}
