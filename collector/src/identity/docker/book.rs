//! What was learned and what is still asked for: bounded, and without any I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{MAX_NAMES, MAX_WANTED, Status};
use crate::identity::Details;

/// For how long an id that the daemon does not know is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// Everything that the handle and the background task share.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) status: Status,
    known: HashMap<String, Entry>,
    /// Ids of `known`, oldest first.
    order: VecDeque<String>,
    /// Ids that the daemon does not know, with the time of asking again.
    unknown: HashMap<String, Instant>,
    queue: VecDeque<String>,
    /// Ids asked for and not answered: those in `queue` and the one being asked about.
    pending: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    details: Arc<Details>,
    /// Inspected, not only listed.
    complete: bool,
}

impl Book {
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            known: HashMap::new(),
            order: VecDeque::new(),
            unknown: HashMap::new(),
            queue: VecDeque::new(),
            pending: HashSet::new(),
        }
    }

    pub(super) fn lookup(&self, id: &str) -> Option<Arc<Details>> {
        self.known.get(id).map(|entry| Arc::clone(&entry.details))
    }

    /// Queues a question unless it is answered, on its way, or not worth asking yet.
    /// Says whether it was queued.
    pub(super) fn want(&mut self, id: &str, now: Instant) -> bool {
        let answered = self.known.get(id).is_some_and(|entry| entry.complete)
            || self.unknown.get(id).is_some_and(|again| now < *again);
        if answered || self.pending.len() >= MAX_WANTED || self.pending.contains(id) {
            return false;
        }
        self.pending.insert(id.to_owned());
        self.queue.push_back(id.to_owned());
        true
    }

    /// The next id to ask about. It stays pending until `learn`, `deny` or `requeue`.
    pub(super) fn next(&mut self) -> Option<String> {
        self.queue.pop_front()
    }

    /// Puts back an id that could not be asked about.
    pub(super) fn requeue(&mut self, id: String) {
        self.queue.push_front(id);
    }

    pub(super) fn learn(&mut self, id: String, details: Details) {
        self.pending.remove(&id);
        self.unknown.remove(&id);
        self.insert(id, details, true);
    }

    /// Takes over what a list of containers tells; what was inspected knows more.
    pub(super) fn learn_listed(&mut self, id: String, details: Details) {
        if !self.known.contains_key(&id) {
            self.insert(id, details, false);
        }
    }

    /// Notes that the daemon has no answer for this id.
    pub(super) fn deny(&mut self, id: String, now: Instant) {
        self.pending.remove(&id);
        if self.unknown.len() >= MAX_NAMES {
            self.unknown.retain(|_, again| now < *again);
        }
        if self.unknown.len() < MAX_NAMES {
            self.unknown.insert(id, now + UNKNOWN_FOR);
        }
    }

    /// Whether waiting longer cannot help: all answered, or nobody there to answer.
    pub(super) fn settled(&self) -> bool {
        match self.status {
            Status::Off | Status::Failed(_) => true,
            Status::Connecting => false,
            Status::Connected => self.pending.is_empty(),
        }
    }

    fn insert(&mut self, id: String, details: Details, complete: bool) {
        let details = Arc::new(details);
        if self.known.insert(id.clone(), Entry { details, complete }).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Details {
        Details { name: name.to_owned(), ..Details::default() }
    }

    #[test]
    fn a_question_is_queued_once_and_answered_once() {
        let now = Instant::now();
        let mut book = Book::new(Status::Connected);
        assert!(book.want("a", now));
        assert!(!book.want("a", now));
        assert_eq!(book.next().as_deref(), Some("a"));
        assert!(!book.want("a", now), "being asked about");
        assert!(!book.settled());
        book.learn("a".to_owned(), named("web"));
        assert!(book.settled());
        assert!(!book.want("a", now));
        assert_eq!(book.lookup("a"), Some(Arc::new(named("web"))));
    }

    #[test]
    fn the_unknown_is_asked_for_again_later() {
        let now = Instant::now();
        let mut book = Book::new(Status::Connected);
        book.want("a", now);
        book.next();
        book.deny("a".to_owned(), now);
        assert!(book.settled());
        assert!(!book.want("a", now + UNKNOWN_FOR / 2));
        assert!(book.want("a", now + UNKNOWN_FOR));
    }

    #[test]
    fn a_listed_name_serves_until_it_is_inspected() {
        let now = Instant::now();
        let mut book = Book::new(Status::Connected);
        book.learn_listed("a".to_owned(), named("listed"));
        assert_eq!(book.lookup("a"), Some(Arc::new(named("listed"))));
        assert!(book.want("a", now));
        book.learn("a".to_owned(), named("inspected"));
        book.learn_listed("a".to_owned(), named("listed"));
        assert_eq!(book.lookup("a"), Some(Arc::new(named("inspected"))));
    }

    #[test]
    fn bounded_everywhere() {
        let now = Instant::now();
        let mut book = Book::new(Status::Connected);
        for number in 0..=MAX_NAMES {
            book.learn(number.to_string(), named("x"));
        }
        assert_eq!(book.lookup("0"), None, "the oldest goes");
        assert_eq!(book.known.len(), MAX_NAMES);
        for number in 0..=MAX_NAMES {
            book.deny(format!("no{number}"), now);
        }
        assert_eq!(book.unknown.len(), MAX_NAMES);
        for number in 0..=MAX_WANTED {
            book.want(&format!("new{number}"), now);
        }
        assert_eq!(book.pending.len(), MAX_WANTED);
    }
}
