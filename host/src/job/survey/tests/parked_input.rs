//! Surveys of a checkpoint that has parked input, which instances share.

use super::*;
use reprise_core::batch::{Batch, Row};
use reprise_core::checkpoint::manifest::{Hop, ParkedRef};
use reprise_core::codec::parked;

/// Adds an object of parked input that both instances share to a manifest.
fn with_parked(bench: &Bench, manifest: &mut Manifest) -> String {
    let mut rows = Batch::new();
    (0..3).for_each(|time| rows.push(Row { time, key: b"k", value: b"v" }).unwrap());
    let (instance, epoch, generation) = (Instance(0), manifest.epoch, Generation(1));
    let edges = vec![parked::ParkedEdge { from: "s".into(), port: 0, input: "rows".into() }];
    let head = parked::ParkedHead { job: JOB.into(), operator: "o".into(), instance, epoch, generation, edges };
    let items = [parked::ParkedItem::Rows { edge: 0, rows }, parked::ParkedItem::Watermark(2)];
    let bytes = parked::encode(&head, &items).unwrap();
    let path = paths::parked("o", instance, epoch, generation, 0);
    let (length, checksum) = (bytes.len() as u64, checksum(&bytes));
    let object = ObjectRef { path: path.clone(), scope: SnapshotScope::Full, bytes: length, checksum, entries: 4 };
    bench.put(&path, bytes);
    for (to, rows) in [(0, 1), (1, 2)] {
        let hops = vec![Hop { done: 0, from: 0, to, of: 2 }];
        let parked = ParkedRef { object: object.clone(), hops, done: 0, rows, bytes: 18 * rows, since_ms: 5 };
        manifest.operators[0].instances[to as usize].parked = vec![parked];
    }
    bench.manifest(manifest);
    path
}

#[test]
fn parked_input_is_verified_and_counted_once() {
    let bench = Bench::new("parked");
    let (first, mut second) = two_checkpoints(&bench);
    let path = with_parked(&bench, &mut second);
    let sound = bench.verify(&Verify::All);
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!(sound.objects, 4, "both instances need it, and it is read once");
    let length = bench.bytes(&path).len() as u64;
    let expected = ParkedSummary { rows: 3, bytes: 54, since_ms: Some(5), objects: 1, object_bytes: length };
    let (before, after) = (Summary::of(&first), Summary::of(&second));
    assert_eq!((before.parked, after.parked, after.objects), (ParkedSummary::default(), expected, 3));

    let good = bench.bytes(&path);
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    for (bytes, reason) in [(Some(damaged), "is damaged"), (Some(good[..good.len() - 1].to_vec()), "were written"), (None, "is missing")] {
        match bytes {
            Some(bytes) => bench.put(&path, bytes),
            None => bench.wait(bench.store.delete(&path)).unwrap(),
        }
        let found = bench.verify(&Verify::One(Choice::Latest));
        let [bad] = &found.bad[..] else { panic!("{found:?}") };
        assert!(bad.role == Role::Parked && bad.reason.contains(reason) && bad.path == path, "{bad:?}");
        let verdict = &found.verdicts[0].1;
        assert!(matches!(verdict, CheckpointVerdict::Bad { objects: 4, bad: 1, unusable: true }), "{verdict:?}");
    }
}
