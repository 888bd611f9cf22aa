//! What was learned and what is still asked for: bounded, and without any I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{ExitStatus, Health, Metadata};

/// Containers whose details are kept, also after they ended; the oldest are dropped first.
pub const MAX_NAMES: usize = 16_384;

/// Ids that may wait for an answer of one daemon; more are simply asked for again by a later
/// sample.
pub const MAX_WANTED: usize = 4_096;

/// Ends that are kept of one container: it may be started again and again.
const MAX_ENDS: usize = 8;

/// For how long an id is not asked for again after an answer that left something open. A runtime
/// may know a container a little later than the kernel; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// After pauses up to this long an id is asked for again by itself: a name is to be there within
/// a tenth of a second.
const LONGEST_EAGER_PAUSE: Duration = Duration::from_millis(640);

/// Two reports of one end, an event and an inspection, differ in time by less than this.
const SAME_END: SignedDuration = SignedDuration::from_secs(1);

/// How long after a container's last process its runtime may date its end.
const LATE_END: SignedDuration = SignedDuration::from_secs(10);

/// How a daemon fares as a source of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// The first answer is still awaited.
    Connecting,
    /// The last call was answered.
    Connected,
    /// The last call was not answered; the reason in one line.
    Failed(String),
}

/// What a source tells about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) details: Metadata,
    /// Whether it is all that this source will ever know, and not only what a list has.
    pub(super) complete: bool,
    pub(super) end: Option<ExitStatus>,
}

/// What a daemon tells by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) id: String,
    /// What came along, if enough to know the container by.
    pub(super) details: Option<Metadata>,
    pub(super) health: Option<Health>,
    /// It ended, with this code.
    pub(super) ended: Option<(Timestamp, Option<i64>)>,
    /// A process of it was killed for want of memory.
    pub(super) oom: bool,
    /// Whether there is more to be had by asking.
    pub(super) look: bool,
    /// Whether others changed its limits or state.
    pub(super) updated: bool,
}

/// Everything that the handle and the tasks in the background share.
#[derive(Debug, Default)]
pub(super) struct Book {
    known: HashMap<String, Entry>,
    /// Ids of `known`, oldest first.
    order: VecDeque<String>,
    desks: Vec<Desk>,
    /// Ids of those whose settings were changed since somebody asked for that.
    updated: HashSet<String>,
}

#[derive(Debug, Default)]
struct Entry {
    details: Arc<Metadata>,
    complete: bool,
    /// The oldest first.
    ends: VecDeque<ExitStatus>,
    /// Whether memory ran out in the present life.
    oom: bool,
}

/// The questions to one daemon.
#[derive(Debug)]
struct Desk {
    status: ConnectionStatus,
    queue: VecDeque<String>,
    /// Ids asked for and not answered: those in `queue` and the one being asked about.
    pending: HashSet<String>,
    pauses: HashMap<String, Pause>,
    /// What is asked for again by itself, and when.
    eager: VecDeque<(Instant, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Book {
    /// Opens a desk for one more daemon.
    pub(super) fn open(&mut self) -> usize {
        self.desks.push(Desk {
            status: ConnectionStatus::Connecting,
            queue: VecDeque::new(),
            pending: HashSet::new(),
            pauses: HashMap::new(),
            eager: VecDeque::new(),
        });
        self.desks.len() - 1
    }

    pub(super) fn lookup(&self, id: &str) -> Option<Arc<Metadata>> {
        self.known.get(id).map(|entry| Arc::clone(&entry.details))
    }

    /// The end, as a runtime tells it, of a life whose last sign was at `from` and which was
    /// over at `to`.
    pub(super) fn end(&self, id: &str, from: Timestamp, to: Timestamp) -> Option<ExitStatus> {
        let ends = self.known.get(id)?.ends.iter();
        let fits = |end: &&ExitStatus| {
            end.at.duration_since(from) >= -SAME_END && end.at.duration_since(to) <= LATE_END
        };
        ends.filter(fits).min_by_key(|end| end.at.duration_since(to).abs()).copied()
    }

    /// Queues a question for what is not known yet, unless it is on its way or not worth asking
    /// again yet. Says whether it was queued.
    pub(super) fn want(&mut self, desk: usize, id: &str, now: Instant) -> bool {
        let complete = self.known.get(id).is_some_and(|entry| entry.complete);
        !complete && self.desks[desk].want(id, now)
    }

    /// The same for the end of a container that is gone.
    pub(super) fn want_end(&mut self, desk: usize, id: &str, now: Instant) -> bool {
        self.desks[desk].want(id, now)
    }

    /// When there is a question to ask; `None` if there is none.
    pub(super) fn due(&self, desk: usize, now: Instant) -> Option<Instant> {
        let desk = &self.desks[desk];
        let eager = || desk.eager.iter().map(|(at, _)| *at).min();
        if desk.queue.is_empty() { eager() } else { Some(now) }
    }

    /// The next id to ask about. It stays pending until `answer` or `requeue`.
    pub(super) fn next(&mut self, desk: usize, now: Instant) -> Option<String> {
        let due: Vec<String> = self.desks[desk].take_due(now);
        for id in due {
            self.want(desk, &id, now);
        }
        self.desks[desk].queue.pop_front()
    }

    /// Puts back an id that could not be asked about.
    pub(super) fn requeue(&mut self, desk: usize, id: String) {
        self.desks[desk].queue.push_front(id);
    }

    /// Takes over what a daemon, or a file in its place, answered.
    pub(super) fn answer(&mut self, desk: usize, id: String, told: Option<Told>, now: Instant) {
        let open = told.as_ref().is_none_or(|told| !told.complete);
        self.desks[desk].answered(&id, open, now);
        if let Some(told) = told {
            self.learn(id, told);
        }
    }

    /// Takes over what a daemon lists when it is connected; what was known before is asked for
    /// again, because it may have changed meanwhile.
    pub(super) fn connected(&mut self, desk: usize, listed: Vec<(String, Metadata)>) {
        for (id, details) in listed {
            if let Some(entry) = self.known.get_mut(&id) {
                entry.complete = false;
                entry.rename(&details.name);
            } else {
                self.learn(id, Told { details, ..Told::default() });
            }
        }
        let desk = &mut self.desks[desk];
        desk.status = ConnectionStatus::Connected;
        desk.pauses.clear();
    }

    /// Takes over what a daemon tells by itself.
    pub(super) fn hear(&mut self, desk: usize, news: News) {
        let News { id, details, health, ended, oom, look, updated } = news;
        // More of them at a time are found changed when their turn comes.
        if updated && self.updated.len() < MAX_WANTED {
            self.updated.insert(id.clone());
        }
        match (self.known.get_mut(&id), details) {
            (Some(entry), Some(details)) => entry.rename(&details.name),
            (None, Some(details)) => self.learn(id.clone(), Told { details, ..Told::default() }),
            _ => {}
        }
        if let Some(entry) = self.known.get_mut(&id) {
            entry.oom |= oom;
            if health.is_some() && entry.details.health != health {
                Arc::make_mut(&mut entry.details).health = health;
            }
            if let Some((at, exit_code)) = ended {
                let oom_killed = std::mem::take(&mut entry.oom).then_some(true);
                entry.end(ExitStatus { at, exit_code, oom_killed });
            }
        }
        if look {
            let desk = &mut self.desks[desk];
            desk.pauses.remove(&id);
            desk.want(&id, Instant::now());
        }
    }

    /// Takes the ids of those whose settings were changed since the last call.
    pub(super) fn take_updated(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.updated)
    }

    pub(super) fn status(&self, desk: usize) -> &ConnectionStatus {
        &self.desks[desk].status
    }

    pub(super) fn failed(&mut self, desk: usize, reason: String) {
        self.desks[desk].status = ConnectionStatus::Failed(reason);
    }

    /// Whether waiting longer cannot help: all answered, or nobody there to answer and nothing to
    /// be read in its place.
    pub(super) fn settled(&self) -> bool {
        self.desks.iter().all(|desk| match desk.status {
            ConnectionStatus::Connecting => false,
            ConnectionStatus::Connected | ConnectionStatus::Failed(_) => desk.pending.is_empty(),
        })
    }

    fn learn(&mut self, id: String, told: Told) {
        let Told { details, complete, end } = told;
        let known = self.known.get_mut(&id);
        let entry = match known {
            Some(entry) => entry,
            None => {
                self.order.push_back(id.clone());
                if self.order.len() > MAX_NAMES
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                }
                self.known.entry(id).or_default()
            }
        };
        // What a file or a list has never replaces what an inspection found.
        if complete || !entry.complete {
            if *entry.details != details {
                entry.details = Arc::new(details);
            }
            entry.complete = complete;
        }
        if let Some(end) = end {
            entry.end(end);
        }
    }
}

impl Entry {
    fn rename(&mut self, name: &str) {
        if self.details.name != name {
            name.clone_into(&mut Arc::make_mut(&mut self.details).name);
        }
    }

    fn end(&mut self, end: ExitStatus) {
        let same = |known: &&mut ExitStatus| {
            known.exit_code == end.exit_code && known.at.duration_since(end.at).abs() < SAME_END
        };
        if let Some(known) = self.ends.iter_mut().find(same) {
            known.oom_killed = known.oom_killed.max(end.oom_killed);
            return;
        }
        if self.ends.len() == MAX_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }
}

impl Desk {
    fn want(&mut self, id: &str, now: Instant) -> bool {
        let paused = self.pauses.get(id).is_some_and(|pause| now < pause.until);
        if paused || self.pending.len() >= MAX_WANTED || self.pending.contains(id) {
            return false;
        }
        self.pending.insert(id.to_owned());
        self.queue.push_back(id.to_owned());
        true
    }

    fn take_due(&mut self, now: Instant) -> Vec<String> {
        let (due, later) = self.eager.drain(..).partition(|(at, _)| *at <= now);
        self.eager = later;
        let due: VecDeque<(Instant, String)> = due;
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// `open` says that there may be a better answer later.
    fn answered(&mut self, id: &str, open: bool, now: Instant) {
        self.pending.remove(id);
        if self.pauses.len() >= MAX_NAMES {
            self.pauses.retain(|_, pause| now < pause.until);
        }
        let length = match self.pauses.get(id) {
            Some(pause) => (pause.length * 2).min(LAST_PAUSE),
            None if self.pauses.len() < MAX_NAMES => FIRST_PAUSE,
            None => return,
        };
        let until = now + length;
        self.pauses.insert(id.to_owned(), Pause { until, length });
        if open && length <= LONGEST_EAGER_PAUSE && self.eager.len() < MAX_WANTED {
            self.eager.push_back((until, id.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    fn named(name: &str) -> Metadata {
        Metadata { name: name.to_owned(), ..Metadata::default() }
    }

    fn inspected(name: &str) -> Option<Told> {
        Some(Told { details: named(name), complete: true, end: None })
    }

    fn book() -> Book {
        let mut book = Book::default();
        assert_eq!(book.open(), 0);
        book.connected(0, Vec::new());
        book
    }

    #[test]
    fn a_question_is_queued_once_and_answered_once() {
        let now = Instant::now();
        let mut book = book();
        assert!(book.want(0, "a", now));
        assert!(!book.want(0, "a", now));
        assert_eq!(book.next(0, now).as_deref(), Some("a"));
        assert!(!book.want(0, "a", now), "being asked about");
        assert!(!book.settled());
        book.answer(0, "a".to_owned(), inspected("web"), now);
        assert!(book.settled());
        assert!(!book.want(0, "a", now + LAST_PAUSE));
        assert_eq!(book.lookup("a"), Some(Arc::new(named("web"))));
    }

    #[test]
    fn the_unknown_is_asked_for_again_ever_more_rarely() {
        let mut now = Instant::now();
        let mut book = book();
        for pause in [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4] {
            assert!(book.want(0, "a", now));
            book.next(0, now);
            book.answer(0, "a".to_owned(), None, now);
            assert!(book.settled());
            assert!(!book.want(0, "a", now + pause / 2));
            assert_eq!(book.due(0, now), Some(now + pause));
            now += pause;
            assert_eq!(book.next(0, now).as_deref(), Some("a"), "by itself");
            book.requeue(0, "a".to_owned());
            book.next(0, now);
            book.desks[0].pending.remove("a");
        }
    }

    #[test]
    fn a_listed_name_serves_until_it_is_inspected() {
        let now = Instant::now();
        let mut book = book();
        book.connected(0, vec![("a".to_owned(), named("listed"))]);
        assert_eq!(book.lookup("a"), Some(Arc::new(named("listed"))));
        assert!(book.want(0, "a", now));
        book.answer(0, "a".to_owned(), inspected("inspected"), now);
        let partial = Told { details: named("file"), ..Told::default() };
        book.answer(0, "a".to_owned(), Some(partial), now);
        assert_eq!(book.lookup("a"), Some(Arc::new(named("inspected"))));
        // A daemon that comes back may know better.
        book.connected(0, vec![("a".to_owned(), named("renamed"))]);
        assert_eq!(book.lookup("a"), Some(Arc::new(named("renamed"))));
        assert!(book.want(0, "a", now));
    }

    #[test]
    fn news_change_what_is_known_and_lead_to_a_look() {
        let mut book = book();
        let news = |details: Option<&str>| News {
            id: "a".to_owned(),
            details: details.map(named),
            ..News::default()
        };
        book.hear(0, news(Some("web")));
        assert_eq!(book.lookup("a").unwrap().name, "web");
        book.hear(0, News { look: true, ..news(Some("new")) });
        assert_eq!(book.next(0, Instant::now()).as_deref(), Some("a"));
        assert_eq!(book.lookup("a").unwrap().name, "new");
        book.hear(0, News { health: Some(Health::Healthy), ..news(None) });
        assert_eq!(book.lookup("a").unwrap().health, Some(Health::Healthy));
    }

    #[test]
    fn each_life_finds_its_own_end() {
        let mut book = book();
        let id = || "a".to_owned();
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
        let die = |at, code| News {
            id: id(),
            details: Some(named("web")),
            ended: Some((at, Some(code))),
            ..News::default()
        };
        book.hear(0, News { details: Some(named("web")), oom: true, id: id(), ..News::default() });
        book.hear(0, die(start, 137));
        book.hear(0, die(start + SECOND * 5, 3));
        // The inspection of the same end says more.
        let end =
            ExitStatus { at: start + SECOND * 5, exit_code: Some(3), oom_killed: Some(false) };
        let told = Told { details: named("web"), complete: true, end: Some(end) };
        book.answer(0, id(), Some(told), Instant::now());
        let end = |at| book.end("a", at, at).map(|end| (end.exit_code, end.oom_killed));
        assert_eq!(end(start), Some((Some(137), Some(true))));
        assert_eq!(end(start + SECOND * 5), Some((Some(3), Some(false))));
        assert_eq!(end(start + SECOND * 60), None, "a later life");
        assert_eq!(end(start - SECOND * 60), None, "an earlier life");
        assert_eq!(book.known["a"].ends.len(), 2);
    }

    #[test]
    fn bounded_everywhere() {
        let now = Instant::now();
        let mut book = book();
        for number in 0..=MAX_NAMES {
            book.answer(0, number.to_string(), inspected("x"), now);
        }
        assert_eq!(book.lookup("0"), None, "the oldest goes");
        assert_eq!(book.known.len(), MAX_NAMES);
        assert_eq!(book.desks[0].pauses.len(), MAX_NAMES);
        for number in 0..=MAX_WANTED {
            book.want(0, &format!("new{number}"), now);
        }
        assert_eq!(book.desks[0].pending.len(), MAX_WANTED);
        for code in 0..20 {
            let ended = Some((Timestamp::UNIX_EPOCH, Some(code)));
            book.hear(0, News { id: MAX_NAMES.to_string(), ended, ..News::default() });
        }
        assert_eq!(book.known[&MAX_NAMES.to_string()].ends.len(), MAX_ENDS);
    }
}
