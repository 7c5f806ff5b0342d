//! Which instance owns a key: key -> key group -> instance.
//!
//! Frozen: a golden file holds the groups of sample keys. Changing this function would send keys to instances that do not hold their
//! state. The hash is XXH3-64 with seed 0 (Yann Collet's xxHash specification); the group is its top byte.

use crate::ids::KeyGroup;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Number of key groups of every job.
pub const KEY_GROUPS: u32 = 256;

/// The hash of a key.
#[inline]
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The group of a key.
#[inline]
#[must_use]
pub fn group(key: &[u8]) -> KeyGroup {
    KeyGroup((hash(key) >> 56) as u8)
}

/// The instance that owns a group, of `instances` in all. Each instance owns one contiguous range of groups.
///
/// With more than [`KEY_GROUPS`] instances the surplus ones own nothing. `instances` of 0 counts as 1.
#[inline]
#[must_use]
pub fn owner(group: KeyGroup, instances: u32) -> u32 {
    let instances = instances.clamp(1, KEY_GROUPS);
    u32::from(group.0) * instances / KEY_GROUPS
}

/// The owner of every group, for a loop over rows.
#[must_use]
pub fn owners(instances: u32) -> [u32; KEY_GROUPS as usize] {
    std::array::from_fn(|g| owner(KeyGroup(g as u8), instances))
}

/// How many instances of an operator run on so many workers, where so many are asked for: as many on each, and at least one. Not more than
/// there are key groups, unless there are more workers: the last ones would have no keys.
#[must_use]
pub fn instances(parallelism: u32, workers: u32) -> u32 {
    let workers = workers.max(1);
    let each = parallelism.div_ceil(workers).min(KEY_GROUPS / workers).max(1);
    each.saturating_mul(workers)
}

/// The instances that run on a worker, given by its index, of `instances` on `workers`: as many on each, one after the other, as
/// [`instances`] makes them.
#[must_use]
pub fn of_worker(index: u32, instances: u32, workers: u32) -> Range<u32> {
    let each = instances / workers.max(1);
    index.saturating_mul(each)..index.saturating_add(1).saturating_mul(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_owns_a_contiguous_share() {
        for instances in 1..=KEY_GROUPS {
            let owners = owners(instances);
            assert!(owners.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] + 1));
            assert_eq!((owners[0], owners[255]), (0, instances - 1));
        }
        assert!(owners(0).iter().all(|&o| o == 0));
        assert_eq!(owner(KeyGroup(255), 1000), 255);
    }

    #[test]
    fn each_worker_runs_as_many_instances_and_all_of_them_own_keys() {
        let asked = [(1, 1), (1, 8), (16, 2), (16, 3), (5, 8), (256, 1), (256, 3), (256, 100), (200, 150), (256, 256)];
        let expected = [1, 8, 16, 18, 8, 256, 255, 200, 150, 256];
        for ((parallelism, workers), expected) in asked.into_iter().zip(expected) {
            let all = instances(parallelism, workers);
            assert_eq!(all, expected, "{parallelism} on {workers} workers");
            let shares: Vec<Range<u32>> = (0..workers).map(|index| of_worker(index, all, workers)).collect();
            assert!(shares.iter().all(|share| share.len() as u32 == all / workers));
            assert_eq!(shares.into_iter().flatten().collect::<Vec<u32>>(), (0..all).collect::<Vec<u32>>());
            assert!((0..all).all(|instance| owners(all).contains(&instance)), "{parallelism} on {workers} workers");
        }
    }
}
