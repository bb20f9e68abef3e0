//! Operations on many ids, each as the crate offers it, behind C functions.
//!
//! `octaindex3d_ids_new` prepares the cells in every form that an operation reads, so that only the operation
//! itself is timed. What an operation makes is copied out only when the caller asks for it.

use octaindex3d::neighbors::neighbors_index64;
use octaindex3d::performance::fast_neighbors::batch_neighbors_fast;
use octaindex3d::performance::{
    batch_index64_decode, batch_index64_encode, batch_neighbors_auto, BatchIndexBuilder,
};
use octaindex3d::{BccGrid, Index64, Lattice, LatticeCoord, Route64};
use std::hint::black_box;
use std::slice::{from_raw_parts, from_raw_parts_mut};

const BIAS: i32 = 32768;
const K: usize = 2;
/// From a site to a position that is nearest to it, half edges.
const ASIDE: [f64; 3] = [0.3, -0.2, 0.1];

pub struct Ids {
    frames: Vec<u8>,
    tiers: Vec<u8>,
    lods: Vec<u8>,
    coords: Vec<(u16, u16, u16)>,
    axes: [Vec<u16>; 3],
    ids: Vec<Index64>,
    routes: Vec<Route64>,
    texts: Vec<String>,
    positions: Vec<[f64; 3]>,
}

/// Cells of one grid, in every form; frame 0, tier 0.
///
/// # Safety
/// `sites` holds 3 n coordinates, each triple a site within -32768..32767.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_ids_new(sites: *const i32, n: usize, lod: u8) -> *mut Ids {
    let sites = from_raw_parts(sites, 3 * n);
    let coords: Vec<_> = sites
        .chunks_exact(3)
        .map(|s| ((s[0] + BIAS) as u16, (s[1] + BIAS) as u16, (s[2] + BIAS) as u16))
        .collect();
    let ids: Vec<_> = coords.iter().map(|c| Index64::new(0, 0, lod, c.0, c.1, c.2).unwrap()).collect();
    Box::into_raw(Box::new(Ids {
        frames: vec![0; n],
        tiers: vec![0; n],
        lods: vec![lod; n],
        axes: [
            coords.iter().map(|c| c.0).collect(),
            coords.iter().map(|c| c.1).collect(),
            coords.iter().map(|c| c.2).collect(),
        ],
        routes: sites.chunks_exact(3).map(|s| Route64::new(0, s[0], s[1], s[2]).unwrap()).collect(),
        positions: sites
            .chunks_exact(3)
            .map(|s| [0, 1, 2].map(|axis| f64::from(s[axis]) + ASIDE[axis]))
            .collect(),
        texts: ids.iter().map(|id| id.to_bech32m().unwrap()).collect(),
        coords,
        ids,
    }))
}

/// # Safety
/// `ids` comes from `octaindex3d_ids_new` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_ids_free(ids: *mut Ids) -> usize {
    drop(Box::from_raw(ids));
    0
}

fn site_of(id: Index64) -> LatticeCoord {
    let (x, y, z) = id.decode_coords();
    LatticeCoord::new(i32::from(x) - BIAS, i32::from(y) - BIAS, i32::from(z) - BIAS).unwrap()
}

fn id_of(like: Index64, lod: u8, site: LatticeCoord) -> Index64 {
    let [x, y, z] = [site.x, site.y, site.z].map(|v| u16::try_from(v + BIAS).unwrap());
    Index64::new(like.frame_id(), like.scale_tier(), lod, x, y, z).unwrap()
}

fn parts_of(id: &Index64) -> ((u16, u16, u16), u8, u8, u8) {
    (id.decode_coords(), id.frame_id(), id.scale_tier(), id.lod())
}

fn lattice_parent(id: &Index64) -> Index64 {
    id_of(*id, id.lod() - 1, Lattice::get_parent(&site_of(*id)))
}

fn lattice_children(id: &Index64) -> Vec<Index64> {
    let lod = id.lod() + 1;
    Lattice::get_children(&site_of(*id)).into_iter().map(|site| id_of(*id, lod, site)).collect()
}

/// Run one operation; `out` receives at most `capacity` raw values, in the order of the cells, unless it is null.
/// Returns how many values the operation made, 0 for one that it does not know.
///
/// # Safety
/// `ids` comes from `octaindex3d_ids_new`; `out` holds `capacity` values or is null.
#[no_mangle]
pub unsafe extern "C" fn octaindex3d_ids_run(
    ids: *const Ids,
    operation: u32,
    out: *mut u64,
    capacity: usize,
) -> usize {
    let c = &*ids;
    let index = |made: Vec<Index64>| put(made.iter().map(Index64::raw), made.len(), out, capacity);
    let route = |made: Vec<Route64>| put(made.iter().map(Route64::raw), made.len(), out, capacity);
    let sites = |made: Vec<(u16, u16, u16)>| put(made.iter().map(packed), made.len(), out, capacity);
    match operation {
        0 => index(black_box(batch_index64_encode(&c.frames, &c.tiers, &c.lods, &c.coords).unwrap())),
        1 => {
            let [x, y, z] = &c.axes;
            index(black_box(BatchIndexBuilder::new().build(&c.frames, &c.tiers, &c.lods, x, y, z).items))
        }
        2 => {
            let lod = c.lods[0];
            let made = c.coords.iter().map(|s| Index64::new(0, 0, lod, s.0, s.1, s.2).unwrap());
            index(black_box(made.collect()))
        }
        3 => sites(black_box(batch_index64_decode(&c.ids))),
        4 => {
            let made: Vec<_> = black_box(c.ids.iter().map(parts_of).collect());
            put(made.iter().map(|part| packed(&part.0)), made.len(), out, capacity)
        }
        5 => index(black_box(c.ids.iter().filter_map(Index64::parent).collect())),
        6 => index(black_box(c.ids.iter().map(lattice_parent).collect())),
        7 => index(black_box(c.ids.iter().flat_map(Index64::children).collect())),
        8 => index(black_box(c.ids.iter().flat_map(lattice_children).collect())),
        9 => index(black_box(c.ids.iter().flat_map(|&id| neighbors_index64(id)).collect())),
        10 => route(black_box(batch_neighbors_auto(&c.routes))),
        11 => route(black_box(batch_neighbors_fast(&c.routes))),
        12 => {
            let grid = BccGrid::new(1.0).unwrap();
            route(black_box(c.routes.iter().flat_map(|&cell| grid.k_ring(cell, K)).collect()))
        }
        13 => {
            let made: Vec<_> = black_box(c.ids.iter().map(|id| id.to_bech32m().unwrap()).collect());
            put(made.iter().map(|text| text.len() as u64), made.len(), out, capacity)
        }
        14 => index(black_box(c.texts.iter().map(|text| Index64::from_bech32m(text).unwrap()).collect())),
        15 => {
            let (like, lod) = (c.ids[0], c.lods[0]);
            let at = |p: &[f64; 3]| id_of(like, lod, Lattice::physical_to_lattice(p[0], p[1], p[2], 0).unwrap());
            index(black_box(c.positions.iter().map(at).collect()))
        }
        _ => 0,
    }
}

fn packed(site: &(u16, u16, u16)) -> u64 {
    u64::from(site.0) | u64::from(site.1) << 16 | u64::from(site.2) << 32
}

unsafe fn put(made: impl Iterator<Item = u64>, count: usize, out: *mut u64, capacity: usize) -> usize {
    if !out.is_null() {
        for (slot, value) in from_raw_parts_mut(out, capacity).iter_mut().zip(made) {
            *slot = value;
        }
    }
    count
}
