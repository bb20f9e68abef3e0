//! OctaIndex3D as its documentation uses it, behind C functions that the benchmark calls in its own process.
//!
//! All arrays are the caller's. The crate has no aggregation of its own beside the occupancy layer, so
//! `octaindex3d_sums` adds up into the hash map that the crate itself uses.

mod ids;

use octaindex3d::neighbors::neighbors_index64;
use octaindex3d::{Index64, Lattice, OccupancyLayer};
use rustc_hash::FxHashMap;
use std::slice::from_raw_parts;

const LOD: u8 = 7;
const BIAS: i32 = 32768;

fn index_of(point: &[f32], scale: f64) -> Option<Index64> {
    let [x, y, z] = [point[0], point[1], point[2]].map(|v| f64::from(v) * scale);
    let site = Lattice::physical_to_lattice(x, y, z, 0).ok()?;
    let [x, y, z] = [site.x, site.y, site.z].map(|v| u16::try_from(v + BIAS).ok());
    Index64::new(0, 0, LOD, x?, y?, z?).ok()
}

/// Position to id to occupancy update; returns the number of cells.
///
/// # Safety
/// `points` holds 3 n floats.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_occupancy(points: *const f32, n: usize, scale: f64) -> usize {
    let mut layer = OccupancyLayer::new();
    for point in from_raw_parts(points, 3 * n).chunks_exact(3) {
        if let Some(index) = index_of(point, scale) {
            layer.update_occupancy(index, true, 0.7);
        }
    }
    layer.stats().total_voxels
}

/// Position to id to the count and the sums of x, y and z; returns the number of cells.
///
/// # Safety
/// `points` holds 3 n floats.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_sums(points: *const f32, n: usize, scale: f64) -> usize {
    let mut cells: FxHashMap<Index64, (u32, [f32; 3])> = FxHashMap::default();
    for point in from_raw_parts(points, 3 * n).chunks_exact(3) {
        if let Some(index) = index_of(point, scale) {
            let (count, sums) = cells.entry(index).or_default();
            *count += 1;
            for (sum, v) in sums.iter_mut().zip(point) {
                *sum += v;
            }
        }
    }
    cells.len()
}

/// Neighbours of every id, looked up among the ids; returns how many are there.
///
/// # Safety
/// `ids` holds n values that are ids.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_neighbors(ids: *const u64, n: usize) -> usize {
    let ids = from_raw_parts(ids, n);
    let cells: Vec<Index64> = ids.iter().filter_map(|&id| Index64::from_value(id).ok()).collect();
    let rows: FxHashMap<Index64, i32> = cells.iter().copied().zip(0..).collect();
    let table: Vec<i32> = cells
        .iter()
        .flat_map(|&cell| neighbors_index64(cell))
        .map(|neighbor| rows.get(&neighbor).copied().unwrap_or(-1))
        .collect();
    table.iter().filter(|&&row| row >= 0).count()
}
