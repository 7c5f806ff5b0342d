//! Whose output a place holds: the decision whether a run may write there, and the names of the notes that it is decided by.
//!
//! A place belongs to one life of a job's store. Each run notes itself there before it stages anything, as the name of an empty file or object:
//!
//! ```text
//! <number, 6 digits>-<life, 32 hexadecimal digits>-<generation>-<writer, 16 hexadecimal digits>
//! ```
//! The highest number counts. Names are made whole or not at all, in a folder as in a bucket, so that two hosts that start at one moment see
//! each other: both make a name first and look then. No I/O is done here.

use super::ConnectError;
use super::recovery::Recovery;
use reprise_core::ids::Life;

/// Digits of the number in names; more where it needs more.
const NUMBER_DIGITS: usize = 6;

/// A run that took a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenant {
    /// Counts the notes of a place from 1.
    pub number: u64,
    /// The life of the job's store.
    pub life: Life,
    /// The generation of the run.
    pub generation: u64,
    /// The random number of the run.
    pub writer: u64,
}

impl Tenant {
    /// The run of a recovery.
    #[must_use]
    pub fn new(number: u64, recovery: &Recovery) -> Self {
        Self { number, life: recovery.life, generation: recovery.generation, writer: recovery.writer }
    }

    /// The name of its note.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:0NUMBER_DIGITS$}-{}-{}-{:016x}", self.number, self.life, self.generation, self.writer)
    }

    /// Reads the name of a note; `None` for every other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (number, life) = (parts.next()?.parse().ok()?, Life::parse(parts.next()?)?);
        let (generation, writer) = (parts.next()?.parse().ok()?, u64::from_str_radix(parts.next()?, 16).ok()?);
        let tenant = Self { number, life, generation, writer };
        (tenant.name() == name).then_some(tenant)
    }

    /// The same run, whatever the number of its note.
    #[must_use]
    pub fn is_of(&self, recovery: &Recovery) -> bool {
        Self { number: self.number, ..Self::new(0, recovery) } == *self
    }

    /// Of these notes the one that counts for a run of this life: the highest, and among equals rather that of another life, since nobody can
    /// tell which of two that met came first.
    #[must_use]
    pub fn of_all(notes: impl IntoIterator<Item = Self>, life: Life) -> Option<Self> {
        notes.into_iter().max_by_key(|note| (note.number, note.life != life, note.generation, note.writer))
    }
}

/// What is to be done for a note of one's own, see [`next_note`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The place is noted for this run.
    Stands,
    /// Make this note, and look again.
    Make(Tenant),
    /// Another run was faster or came later: take one's own note away.
    Lost,
}

/// Looks at the notes of a place while one's own is made.
pub const NOTE_ROUNDS_MAX: u32 = 3;

/// The error for a place whose notes change while a run makes its own.
#[must_use]
pub fn taken_now(place: &str) -> ConnectError {
    ConnectError::Unknown {
        what: format!("another host takes `{place}` at this very moment"),
        help: "stop one of the two, and start again".to_owned(),
    }
}

/// What a run does that finds these notes. `made`: the note that it made before, if any.
#[must_use]
pub fn next_note(notes: &[Tenant], recovery: &Recovery, made: Option<Tenant>) -> Note {
    let newest = notes.iter().map(|note| note.number).max().unwrap_or(0);
    match made {
        None if Tenant::of_all(notes.iter().copied(), recovery.life).is_some_and(|note| note.is_of(recovery)) => Note::Stands,
        None => Note::Make(Tenant::new(newest.saturating_add(1), recovery)),
        Some(made) => {
            // Of one life the later generation stays; two lives that meet both go.
            let is_stronger = |other: &&Tenant| {
                other.number >= made.number && !other.is_of(recovery) && (other.life != made.life || other.generation >= made.generation)
            };
            if notes.iter().any(|other| is_stronger(&other)) { Note::Lost } else { Note::Stands }
        }
    }
}

/// What a place holds of a sink of a job. Nothing is changed by finding out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// Notes of runs that took the place. Places of the first hosts have none.
    pub tenants: Vec<Tenant>,
    /// The newest epoch of output that is or was visible there.
    pub newest: Option<u64>,
    /// The newest generation of output that is staged there.
    pub staged: Option<u64>,
}

impl Holding {
    /// Refuses a place that holds what the store of this run cannot know. `place` and `sink` are for people.
    ///
    /// Must be looked at before the store is, or by a run that has claimed the job: what the store has by then includes all that a run of this
    /// life can have left.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`].
    pub fn check(&self, place: &str, sink: &str, recovery: &Recovery) -> Result<(), ConnectError> {
        let Some(what) = self.unknown(place, sink, recovery) else { return Ok(()) };
        let aside = format!("{place}/.reprise/{sink}/taken-back");
        Err(ConnectError::Unknown {
            what,
            help: format!(
                "bring back the store that wrote it; or give the sink another folder; or let this store take the place over with \
                 `reprise run --adopt`: visible output after the checkpoint that is taken up (without one, all of it) goes to `{aside}`, and what \
                 is before it stays and counts as this job's. Stop the other job first, if there is one"
            ),
        })
    }

    /// What the store of this run cannot know; `None` where there is nothing.
    #[must_use]
    pub fn unknown(&self, place: &str, sink: &str, recovery: &Recovery) -> Option<String> {
        let why = self.stranger(recovery)?;
        Some(format!("`{place}` holds output of sink `{sink}` that the store of this job does not know: {why}"))
    }

    /// Lets a run in that may take the place over, or refuses it as [`Holding::check`] does. True where the run takes over what is not its own:
    /// all that was staged before this was looked at is to be removed.
    ///
    /// # Errors
    /// [`ConnectError::Unknown`].
    pub fn admit(&self, place: &str, sink: &str, recovery: &Recovery) -> Result<bool, ConnectError> {
        let Some(seen) = recovery.adopt else { return self.check(place, sink, recovery).map(|()| false) };
        let Some(later) = self.tenants.iter().find(|note| note.number > seen && !note.is_of(recovery)) else { return Ok(true) };
        Err(ConnectError::Unknown {
            what: format!("run {} of the store `{}` has taken `{place}` since this run looked at it", later.generation, later.life),
            help: "stop one of the two, and start again".to_owned(),
        })
    }

    /// The highest number of a note, for [`Recovery::adopt`].
    #[must_use]
    pub fn newest_note(&self) -> u64 {
        self.tenants.iter().map(|note| note.number).max().unwrap_or(0)
    }

    fn stranger(&self, recovery: &Recovery) -> Option<String> {
        let upto = self.newest.map(|newest| format!(", with output up to epoch {newest}")).unwrap_or_default();
        let known = recovery.taken.saturating_sub(1);
        if let Some(tenant) = Tenant::of_all(self.tenants.iter().copied(), recovery.life) {
            if tenant.life != recovery.life {
                return Some(format!("it belongs to another store, `{}`{upto}; this one is `{}`", tenant.life, recovery.life));
            }
            if tenant.generation >= recovery.generation && !tenant.is_of(recovery) {
                let newest = recovery.generation.saturating_sub(1);
                return Some(format!(
                    "run {} wrote there{upto}, and the store knows of {newest} runs and of {known} epochs: it is an older copy",
                    tenant.generation
                ));
            }
        }
        if let Some(newest) = self.newest.filter(|newest| *newest > recovery.taken) {
            return Some(format!(
                "output up to epoch {newest} was published there, and the newest checkpoint in the store is of epoch {known}"
            ));
        }
        let staged = self.staged.filter(|staged| *staged >= recovery.generation)?;
        Some(format!("run {staged} has staged output there, and the store knows of {} runs", recovery.generation.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Life = Life([7; 16]);
    const THEIRS: Life = Life([9; 16]);

    fn run(generation: u64, writer: u64) -> Recovery {
        Recovery { recovered: Some(40), taken: 41, generation, life: OURS, writer, adopt: None, now_ms: 0 }
    }

    fn note(number: u64, life: Life, generation: u64, writer: u64) -> Tenant {
        Tenant { number, life, generation, writer }
    }

    #[test]
    fn a_note_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let tenant = note(12, OURS, 3, 0xab);
        assert_eq!(tenant.name(), "000012-07070707070707070707070707070707-3-00000000000000ab");
        assert_eq!(Tenant::parse(&tenant.name()), Some(tenant));
        for lie in ["", "12", "000012-07-3-ab", "000012-07070707070707070707070707070707-03-00000000000000ab", "lost+found"] {
            assert_eq!(Tenant::parse(lie), None, "{lie}");
        }
    }

    #[test]
    fn a_place_is_refused_where_the_store_cannot_know_what_it_holds() {
        let (none, ours) = (Holding::default(), vec![note(1, OURS, 2, 1)]);
        let refused = |holding: &Holding, recovery: &Recovery| holding.check("out", "counts", recovery).is_err();
        let with = |tenants: &[Tenant], newest, staged| Holding { tenants: tenants.to_vec(), newest, staged };
        assert!(!refused(&none, &run(3, 5)));
        assert!(!refused(&with(&ours, Some(41), Some(2)), &run(3, 5)), "as a crash leaves it");
        assert!(!refused(&with(&[], Some(41), Some(2)), &run(3, 5)), "as the first hosts left it");
        assert!(refused(&with(&ours, Some(42), None), &run(3, 5)), "later than any manifest");
        assert!(refused(&with(&[], Some(42), None), &run(3, 5)));
        assert!(refused(&with(&[], None, Some(3)), &run(3, 5)), "staged by a run that has not been");
        assert!(refused(&with(&[note(1, THEIRS, 1, 1)], None, None), &run(3, 5)), "another store");
        assert!(refused(&with(&[note(1, OURS, 3, 6)], None, None), &run(3, 5)), "another copy of the store has claimed the same");
        assert!(!refused(&with(&[note(1, OURS, 3, 5)], None, None), &run(3, 5)), "this run, asked again");
        assert!(refused(&with(&[note(1, OURS, 4, 6)], None, None), &run(3, 5)));
        assert!(!refused(&with(&[note(1, THEIRS, 9, 1), note(2, OURS, 2, 1)], None, None), &run(3, 5)), "taken over since");
        assert!(refused(&with(&[note(2, THEIRS, 1, 1), note(2, OURS, 2, 1)], None, None), &run(3, 5)), "two that met");
    }

    #[test]
    fn who_adopts_a_place_takes_it_from_those_it_saw_there_and_from_nobody_else() {
        let holding = |tenants: &[Tenant]| Holding { tenants: tenants.to_vec(), newest: Some(90), staged: Some(9) };
        let admitted = |tenants: &[Tenant], adopt| holding(tenants).admit("out", "counts", &Recovery { adopt, ..run(3, 5) }).ok();
        let seen = [note(1, THEIRS, 9, 1), note(2, THEIRS, 10, 1)];
        assert_eq!(holding(&seen).newest_note(), 2);
        assert_eq!((admitted(&seen, None), admitted(&seen, Some(2)), admitted(&[], Some(0))), (None, Some(true), Some(true)));
        for later in [note(3, THEIRS, 11, 1), note(3, OURS, 4, 6), note(3, OURS, 2, 6)] {
            assert_eq!(admitted(&[seen[1], later], Some(2)), None, "{later:?}");
        }
        assert_eq!(admitted(&[seen[1], note(3, OURS, 3, 5)], Some(2)), Some(true), "this run, asked again");
    }

    /// Two runs make their notes, in every order of their steps: never do both go on.
    #[test]
    fn of_two_runs_that_start_at_one_moment_one_at_most_takes_the_place() {
        for (lives, generations) in [([OURS, THEIRS], [1, 1]), ([OURS, OURS], [1, 2]), ([OURS, OURS], [1, 1])] {
            for order in 0..64_u32 {
                let recovery = |who: usize| Recovery { life: lives[who], ..run(generations[who], who as u64) };
                let (mut notes, mut made, mut ends) = (Vec::<Tenant>::new(), [None; 2], [None; 2]);
                let (mut seen, mut looks) = ([Vec::new(), Vec::new()], [true; 2]);
                for step in 0..16 {
                    let who = if step < 6 { (order >> step & 1) as usize } else { step % 2 };
                    if ends[who].is_some() {
                        continue;
                    }
                    if std::mem::replace(&mut looks[who], false) {
                        seen[who] = notes.clone();
                        continue;
                    }
                    looks[who] = true;
                    let holding = Holding { tenants: seen[who].clone(), ..Holding::default() };
                    if made[who].is_none() && holding.check("out", "counts", &recovery(who)).is_err() {
                        ends[who] = Some(false);
                        continue;
                    }
                    match next_note(&seen[who], &recovery(who), made[who]) {
                        Note::Stands => ends[who] = Some(true),
                        Note::Lost => {
                            notes.retain(|note| Some(*note) != made[who]);
                            ends[who] = Some(false);
                        }
                        Note::Make(note) => {
                            notes.push(note);
                            made[who] = Some(note);
                        }
                    }
                }
                let [one, other] = ends.map(|end| end.expect("every run comes to an end"));
                // Of one life the earlier run may have been through before the later one came: the fence of the store is for that.
                let both = one && other && !(lives[0] == lives[1] && generations[0] < generations[1]);
                assert!(!both, "{lives:?} {generations:?} {order:b}");
            }
        }
    }
}
