//! Who starts hosts, and what befalls them: the world's own tasks.

use crate::clockwork::{HostId, NETWORK, WHOLE};
use crate::host::Exit;
use crate::plan::{Drill, Fault};
use crate::store::Bytes;
use crate::take_up::Begin;
use crate::world::Sim;
use reprise_core::checkpoint::committer::CommitterEvent;
use reprise_core::checkpoint::paths;

/// How often the end of a drill is waited for.
const DRILL_WAITS: u64 = 40;
/// Each time so many milliseconds.
const DRILL_WAIT_MS: u64 = 100;

/// Starts the world's tasks.
pub fn start(sim: &Sim) {
    sim.spawn(NETWORK, WHOLE, supervise(sim.clone()));
    if !sim.is_calm() {
        sim.spawn(NETWORK, WHOLE, strike(sim.clone()));
    }
    if sim.plan.reader {
        sim.spawn(NETWORK, WHOLE, read(sim.clone()));
    }
}

/// Starts hosts until the job is finished: one where none runs, and sometimes one more.
async fn supervise(sim: Sim) {
    let mut rewinds = sim.plan.rewinds;
    let mut rewinding: Option<HostId> = None;
    let mut last = None;
    loop {
        sim.pause(10, 100).await;
        while let Some((host, exit)) = sim.exits.borrow_mut().pop_front() {
            if exit == Exit::NoCheckpoint {
                refused(&sim);
            }
            rewinding = rewinding.filter(|rewinder| *rewinder != host);
            last = Some(exit);
        }
        let (down, alive): (Vec<HostId>, Vec<HostId>) = (0..sim.plan.hosts).partition(|host| !sim.hosts.borrow()[*host].alive);
        if let Some(host) = alive.first().filter(|_| !sim.is_calm() && sim.chance(sim.plan.ask)) {
            ask(&sim, *host);
        }
        let is_finished = last == Some(Exit::Finished) && sim.oracle.borrow().is_finished();
        let is_refused = last == Some(Exit::NoCheckpoint);
        // A host that died on its way back to an older checkpoint may have its manifest stored yet.
        let is_quiet = sim.store.borrow().under_way == 0;
        let stands = !alive.is_empty() && alive.iter().all(|host| sim.is_frozen(*host));
        let wants = match (alive.is_empty(), sim.is_calm()) {
            (true, _) if is_refused => break,
            (true, _) if is_finished && rewinds == 0 && is_quiet => break,
            (true, _) if is_finished && rewinds == 0 => false,
            (true, calm) => calm || sim.chance(400),
            (false, true) => false,
            (false, false) => sim.chance(if stands { 400 } else { sim.plan.race }),
        };
        let host = sim.random.borrow_mut().pick(&down).copied();
        let Some(host) = host.filter(|_| wants) else { continue };
        let mut begin = Begin::Newest;
        // Who is to go back while another one is about to publish waits for that one.
        let waits = sim.plan.drill == Drill::Rename && !sim.has_drilled();
        if rewinds > 0 && rewinding.is_none() && (is_finished || (!waits && sim.chance(sim.plan.rewind))) {
            begin = older(&sim, alive.is_empty());
            if begin != Begin::Newest || is_finished {
                rewinds -= 1;
                rewinding = Some(host);
            }
        }
        sim.start(host, begin);
        let at_once = sim.plan.drill == Drill::Claims && !sim.is_calm();
        for other in down.into_iter().filter(|other| *other != host && at_once) {
            sim.start(other, Begin::Newest);
        }
    }
    sim.be_over();
}

fn refused(sim: &Sim) {
    sim.count(Fault::Refused);
    if !sim.plan.damage {
        sim.fail("no checkpoint can be used, and nothing was damaged");
    }
    sim.oracle.borrow_mut().refuse();
}

/// Something older to begin with. A checkpoint may be deleted by a host that still runs; a savepoint may not.
fn older(sim: &Sim, alone: bool) -> Begin {
    let oracle = sim.oracle.borrow();
    let mut random = sim.random.borrow_mut();
    if alone && random.chance(400) {
        // Also one of a history that was given up: it has to be refused.
        let stored: Vec<_> = oracle.stored().collect();
        return random.pick(&stored).map_or(Begin::Newest, |epoch| Begin::Epoch(*epoch));
    }
    let savepoints = oracle.usable_savepoints();
    random.pick(&savepoints).map_or(Begin::Newest, |name| Begin::Savepoint(name.clone()))
}

/// Strikes as often as the plan says, then lets the world be calm.
async fn strike(sim: Sim) {
    for _ in 0..sim.plan.faults {
        sim.pause(20, 500).await;
        if sim.is_over() {
            return;
        }
        let alive: Vec<HostId> = (0..sim.plan.hosts).filter(|host| sim.hosts.borrow()[*host].alive).collect();
        let host = sim.random.borrow_mut().pick(&alive).copied();
        let kind = sim.between(0, 15);
        match (kind, host) {
            (0..=5, _) if sim.plan.drill == Drill::Damage => damage(&sim),
            (0..=2, Some(host)) => sim.crash(host),
            (3..=5, Some(host)) => {
                let ms = sim.between(50, if sim.chance(400) { 6_000 } else { 800 });
                sim.freeze(host, ms);
            }
            (6, Some(host)) => with_run(&sim, host, |run| run.give_up(&sim)),
            (7..=8, Some(host)) => {
                with_run(&sim, host, |run| run.doom(sim.between(0, u64::from(run.shape.instances()) - 1) as u32));
            }
            (9, Some(host)) => with_run(&sim, host, |run| run.stop(&sim)),
            (10, _) => {
                let ms = sim.between(50, 2_000);
                sim.outage(ms);
            }
            (11..=13, _) if sim.plan.damage => damage(&sim),
            (_, Some(host)) if sim.plan.savepoints => ask(&sim, host),
            _ => {}
        }
    }
    for _ in 0..DRILL_WAITS {
        if sim.is_over() || sim.is_drilled() {
            break;
        }
        sim.sleep(DRILL_WAIT_MS).await;
    }
    sim.calm_down();
}

fn with_run(sim: &Sim, host: HostId, act: impl FnOnce(&crate::run::Run)) {
    let run = sim.hosts.borrow()[host].run.clone();
    if let Some(run) = run {
        act(&run);
    }
}

fn ask(sim: &Sim, host: HostId) {
    let name = format!("s{}", sim.steps());
    with_run(sim, host, |run| {
        let ahead = sim.between(0, 2);
        let epoch = reprise_core::ids::Epoch(run.flow.borrow().completed.0 + ahead);
        sim.tell(host, format_args!("is asked for savepoint {name} of epoch {epoch}"));
        run.tell(sim, CommitterEvent::SavepointAsked { name, epoch });
    });
}

/// Flips a byte of an object, or loses the object.
///
/// What is left out no protocol over such a store could notice: the loss of the newest manifest, of a claim, or of staged output. And where
/// somebody goes back to an older checkpoint, manifests stay whole: that history is known from them alone.
fn damage(sim: &Sim) {
    let oracle = sim.oracle.borrow();
    let newest = oracle.line().next();
    let mut paths: Vec<String> = sim.store.borrow().names();
    paths.retain(|path| {
        let is_manifest = paths::manifest_epoch(path).is_some() || paths::savepoint_name(path).is_some();
        paths::snapshot_origin(path).is_some() || (is_manifest && sim.plan.rewinds == 0)
    });
    if sim.chance(600)
        && let Some(newest) = newest
    {
        let own = paths::manifest(newest.epoch);
        paths.retain(|path| *path == own || newest.objects().any(|object| object.path == *path));
    }
    let own = newest.map(|newest| paths::manifest(newest.epoch));
    drop(oracle);
    let Some(path) = sim.random.borrow_mut().pick(&paths).cloned() else { return };
    let Some(bytes) = sim.store.borrow().peek(&path) else { return };
    let becomes = (Some(&path) == own.as_ref() || sim.chance(600)).then(|| flipped(sim, &bytes));
    sim.note(format_args!("{path} is {}", if becomes.is_some() { "damaged" } else { "lost" }));
    sim.count(Fault::Damage);
    sim.oracle.borrow_mut().damaged(&path, becomes.is_none());
    sim.store.borrow_mut().damage(&path, becomes);
}

fn flipped(sim: &Sim, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = sim.between(0, bytes.len() as u64 - 1) as usize;
    bytes[at] ^= 1 << sim.between(0, 7);
    bytes.into()
}

/// A reader that takes visible files away.
async fn read(sim: Sim) {
    while !sim.is_over() {
        sim.pause(20, 300).await;
        let choose = sim.random.borrow_mut().number();
        let taken = sim.outbox.borrow_mut().take_away(choose);
        if let Some((epoch, instance)) = taken {
            sim.note(format_args!("a reader takes epoch {epoch} of instance {instance} away"));
            sim.count(Fault::TakenAway);
        }
    }
}
