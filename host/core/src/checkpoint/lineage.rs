//! The lineage of a manifest: the manifests that it came from, by their parents. A manifest outside it belongs to a history that was given up.

use super::manifest::Manifest;
use crate::ids::Epoch;
use std::collections::BTreeMap;

/// The history that ends with the manifest of epoch `newest`, newest first: that epoch and all it came from, as far as they are listed. What is
/// listed and not in it belongs to a history that was given up. `manifests`: all that are listed; `None` for those that cannot be read.
///
/// The parent of a manifest that cannot be read is unknown: the one before it may well be.
#[must_use]
pub fn lineage(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch) -> Vec<Epoch> {
    let mut lineage = Vec::new();
    let mut next = Some(newest);
    while let Some((epoch, manifest)) = next.and_then(|epoch| manifests.get_key_value(&epoch)) {
        lineage.push(*epoch);
        // A parent that is not older would be a circle.
        next = match manifest {
            Some(manifest) => manifest.parent.filter(|parent| parent < epoch),
            None => manifests.range(..epoch).next_back().map(|(before, _)| *before),
        };
    }
    lineage
}

/// The history that ends with the manifest of epoch `newest` has left out the rows of `epoch`: one of its manifests is later, and came from an
/// earlier one. What it came from may be gone; so where this is false, nothing is known of epochs before the oldest manifest that is left.
#[must_use]
pub fn has_given_up(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch, epoch: Epoch) -> bool {
    let is_jump = |manifest: &Manifest| manifest.epoch > epoch && manifest.parent < Some(epoch);
    lineage(manifests, newest).iter().any(|of| manifests.get(of).copied().flatten().is_some_and(is_jump))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lineage_leaves_out_what_was_given_up() {
        let manifests = [Manifest::bare(2, Some(1)), Manifest::bare(3, Some(2)), Manifest::bare(4, Some(2)), Manifest::bare(5, Some(4))];
        let mut listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        assert_eq!(lineage(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(2)]);
        listed.insert(Epoch(4), None);
        assert_eq!(lineage(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(3), Epoch(2)], "nobody can tell where 4 came from");
        assert_eq!(lineage(&listed, Epoch(9)), []);
    }

    #[test]
    fn a_history_that_went_back_has_given_up_what_it_went_behind() {
        // 6 went back to 3, which is gone.
        let manifests = [Manifest::bare(5, Some(4)), Manifest::bare(6, Some(3)), Manifest::bare(7, Some(6))];
        let listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        let given_up = |epoch| has_given_up(&listed, Epoch(7), Epoch(epoch));
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(given_up), [false, false, false, true, true, false, false, false]);
    }
}
