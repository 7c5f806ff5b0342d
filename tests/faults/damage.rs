//! Random damage to what a host left behind: the job goes on from an older checkpoint and says so, or it is refused with the name of what
//! is damaged, or the damage does not matter. It never comes to anything else than it would have, and never panics.
//!
//! `REPRISE_SEED` draws other cases.

use super::calls::{At, Fault, Trap};
use super::reference::{Image, Outcome, Reference, Run, reference, visible};
use super::strike::{Damage, Place, Stroke, strike_all_manifests, strike_some, targets};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reprise::connect::ConnectError;
use reprise::engine::Failure;
use reprise::job::{Ending, Error, Kind, Notice, StartFrom};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

const CASES: u64 = 1_000;
/// Times that two hosts are let die until they leave behind what is meant.
const TRIES: usize = 20;
/// Failures that a report shows.
const SHOWN_MAX: usize = 40;

/// What came of the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// An older checkpoint was taken up.
    Recovered,
    /// No checkpoint could be used.
    Refused,
    /// Output that was not yet published cannot be.
    OutputRefused,
    /// Nothing that was needed.
    NoMatter,
}

/// What a host left behind, and what the job comes to from there.
struct Left {
    what: &'static str,
    image: Image,
    targets: Vec<(Place, String)>,
    /// The newest manifest and its snapshots.
    needed: BTreeSet<String>,
    expected: Outcome,
}

impl Left {
    fn new(reference: &Reference, what: &'static str, image: Image) -> Self {
        let site = reference.site(&image);
        let run = site.run(1, &Arc::new(Trap::none()), None).unwrap();
        assert!(matches!(run.result, Ok(Ending::Finished)) && passed_over(&run).is_empty(), "{what}: {:?}", run.result);
        let expected = site.outcome(1).unwrap();
        let (path, bytes) = image.state.iter().rfind(|(path, _)| paths::manifest_epoch(path).is_some()).unwrap();
        let manifest: Manifest = record::decode(bytes).unwrap();
        let chains = manifest.operators.iter().flat_map(|o| &o.instances).flat_map(|i| &i.chain).map(|object| object.path.clone());
        let needed: BTreeSet<String> = chains.chain([path.clone()]).collect();
        assert!(needed.len() > 1, "there is state");
        Self { what, targets: targets(&image), needed, expected, image }
    }
}

/// Two hosts that died one after the other; the second one before or after its last manifest. Each has answered a request for a savepoint, and
/// one more waits. Output is staged.
fn left_behind(reference: &Reference) -> Vec<Left> {
    let deaths = [("output to publish", Fault::DeathAfter, 7), ("output published, and more staged", Fault::DeathBefore, 8)];
    let all = deaths.map(|(what, fault, manifests)| {
        // Manifests are written while output is published: a host that is slow in the latter may die before its savepoint is made.
        let images = (0..TRIES).map(|_| {
            let mut image = Image::default();
            for (name, fault, manifests) in [("first", Fault::DeathAfter, 4), ("second", fault, manifests - 3)] {
                image.ask(name);
                let site = reference.site(&image);
                let death = Arc::new(Trap::new(fault, At::Created("checkpoints/", manifests)));
                assert!(site.run(1, &death, None).is_none(), "the host died");
                image = site.image();
            }
            image.ask("third");
            image
        });
        let is_meant = |image: &Image| {
            let made = ["first", "second"].iter().all(|name| image.state.contains_key(&paths::savepoint(name).unwrap()));
            made && targets(image).iter().any(|(place, path)| *place != Place::State && path.contains("/staged/"))
        };
        let image = images.into_iter().find(is_meant).expect("a host made both savepoints and has staged output");
        Left::new(reference, what, image)
    });
    Vec::from(all)
}

fn passed_over(run: &Run) -> Vec<&str> {
    run.notices
        .iter()
        .filter_map(|notice| if let Notice::PassedOver { reason, .. } = notice { Some(reason.as_str()) } else { None })
        .collect()
}

/// One text of an error and all that caused it.
fn chain(error: &Error) -> String {
    let links = std::iter::successors(Some(error as &dyn std::error::Error), |link| link.source());
    links.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The fault of a sink, where that is what the error is.
fn of_sink(error: &Error) -> Option<&ConnectError> {
    match error {
        Error::Connect { kind: "sink", error, .. } => Some(error),
        Error::Engine(failure) => match failure.as_ref() {
            Failure::Connect { kind: "sink", error, .. } => Some(error),
            _ => None,
        },
        _ => None,
    }
}

/// The end of a path, which every message that names the object or file has.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn rows_of(all: &BTreeMap<String, bytes::Bytes>) -> String {
    visible(all).iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

/// Looks at a refusal: is it told rightly, and is what is visible a beginning of what should be?
fn refusal(error: &Error, strokes: &[Stroke], left: &Left, now: &Image) -> Result<Verdict, String> {
    let text = chain(error);
    let struck = || strokes.iter().flat_map(|stroke| stroke.paths().into_iter().map(move |path| (stroke.place, path)));
    let verdict = match (error.kind(), of_sink(error)) {
        (Kind::Corrupt, _) => {
            if rows_of(&now.files) != rows_of(&left.image.files) || rows_of(&now.objects) != rows_of(&left.image.objects) {
                return Err("refused, but something was published".into());
            }
            Verdict::Refused
        }
        (
            Kind::Connect,
            Some(ConnectError::Corrupt { .. } | ConnectError::Missing { .. } | ConnectError::Config { .. } | ConnectError::Unknown { .. }),
        ) => {
            for (visible, whole) in [(rows_of(&now.files), &left.expected.files), (rows_of(&now.objects), &left.expected.objects)] {
                if !format!("{whole}\n").starts_with(&visible) {
                    return Err(format!("refused, but something wrong was published: {text}"));
                }
            }
            Verdict::OutputRefused
        }
        (kind, _) => return Err(format!("refused as {kind:?}: {text}")),
    };
    let named = struck().any(|(place, path)| (place == Place::State) == (verdict == Verdict::Refused) && text.contains(name(path)));
    // The owner of a place is told by the place.
    let owner = struck().any(|(_, path)| path.ends_with("/owner")) && text.contains("holds output of sink");
    // What the store no longer knows is told by where it is.
    let told = ["identity", "generations/", "checkpoints/", "/lives/", "/published/"];
    let lost = matches!(of_sink(error), Some(ConnectError::Unknown { .. }))
        && struck().any(|(_, path)| told.iter().any(|part| path.contains(part)));
    if named || owner || lost { Ok(verdict) } else { Err(format!("the message does not name what is damaged: {text}")) }
}

/// Looks at a run that came to its end.
fn success(run: &Run, outcome: Outcome, strokes: &[Stroke], left: &Left, from: Option<&StartFrom>) -> Result<Verdict, String> {
    let mut expected = left.expected.clone();
    if strokes.iter().any(|stroke| stroke.path.starts_with(paths::QUARANTINE)) {
        // Refused rows are kept for people, and nothing of the job reads them.
        expected.refused.clone_from(&outcome.refused);
    }
    if let Some(difference) = outcome.difference(&expected) {
        return Err(format!("{difference}; passed over: {:?}", passed_over(run)));
    }
    let passed = passed_over(run);
    let hit: Vec<&str> = strokes
        .iter()
        .filter(|stroke| !(stroke.damage == Damage::Gone && paths::manifest_epoch(&stroke.path).is_some()))
        .flat_map(Stroke::paths)
        .filter(|path| left.needed.contains(*path))
        .collect();
    if from.is_none() && !hit.is_empty() && !passed.iter().any(|reason| hit.iter().any(|path| reason.contains(path))) {
        // Where the newest manifest itself is gone, nobody looks at what it needed.
        let gone = |stroke: &Stroke| stroke.damage == Damage::Gone && left.needed.contains(&stroke.path);
        if !strokes.iter().any(gone) {
            return Err(format!("nothing was passed over, though {hit:?} are damaged: {passed:?}"));
        }
    }
    if let Some(reason) = passed.iter().find(|reason| !strokes.iter().any(|s| s.paths().iter().any(|path| reason.contains(path)))) {
        return Err(format!("passed over for what is not damaged: {reason}"));
    }
    Ok(if passed.is_empty() { Verdict::NoMatter } else { Verdict::Recovered })
}

fn case(reference: &Reference, left: &Left, random: &mut StdRng) -> (Vec<Stroke>, Option<StartFrom>, Result<Verdict, String>) {
    let mut image = left.image.clone();
    let strokes = match random.random_ratio(1, 10) {
        true => strike_all_manifests(&mut image, random),
        false => strike_some(&mut image, &left.targets, random),
    };
    let start = random.random_ratio(1, 5).then(|| StartFrom::Savepoint("first".into()));
    let site = reference.site(&image);
    let panics = PANICS.lock().unwrap().len();
    let Some(run) = site.run(1, &Arc::new(Trap::none()), start.clone()) else { return (strokes, start, Err("nobody was to die".into())) };
    let verdict = match &run.result {
        Ok(Ending::Finished) => match site.outcome_without(1, &strokes.iter().flat_map(Stroke::paths).collect::<Vec<_>>()) {
            Ok(outcome) => success(&run, outcome, &strokes, left, start.as_ref()),
            Err(error) => Err(format!("{error}; passed over: {:?}", passed_over(&run))),
        },
        Ok(ending) => Err(format!("it ended as {ending:?}")),
        Err(error) => refusal(error, &strokes, left, &site.image()),
    };
    let panicked = PANICS.lock().unwrap().get(panics..).map(<[String]>::to_vec).unwrap_or_default();
    if !panicked.is_empty() {
        return (strokes, start, Err(format!("panicked: {panicked:?}")));
    }
    (strokes, start, verdict)
}

/// Panics of this process that no test made: in whichever thread, caught or not.
static PANICS: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let here = panic.location().is_some_and(|at| at.file().starts_with("tests/"));
        if !here {
            PANICS.lock().unwrap().push(panic.to_string());
        }
        before(panic);
    }));
    Mutex::default()
});

#[test]
fn random_damage_is_recovered_from_or_refused_and_never_gives_a_wrong_answer() {
    LazyLock::force(&PANICS);
    let seed = std::env::var("REPRISE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let reference = reference();
    let left = left_behind(reference);
    let (next, done) = (AtomicU64::new(0), Mutex::new((BTreeMap::<Verdict, u64>::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CASES {
                        return;
                    }
                    let mut random = StdRng::seed_from_u64(seed ^ (number << 32));
                    let left = &left[random.random_range(0..left.len())];
                    let (strokes, start, verdict) = case(reference, left, &mut random);
                    let mut done = done.lock().unwrap();
                    match verdict {
                        Ok(verdict) => *done.0.entry(verdict).or_default() += 1,
                        Err(error) => done.1.push(format!("case {number}, {}, from {start:?}, {strokes:?}:\n  {error}", left.what)),
                    }
                }
            });
        }
    });
    let (verdicts, wrong) = done.into_inner().unwrap();
    println!("seed {seed}, {CASES} cases: {verdicts:?}");
    let shown = wrong.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "seed {seed}: {} of {CASES} cases went wrong:\n{shown}", wrong.len());
    for verdict in [Verdict::Recovered, Verdict::Refused, Verdict::OutputRefused, Verdict::NoMatter] {
        assert!(verdicts.contains_key(&verdict), "no case was {verdict:?}: {verdicts:?}");
    }
}
