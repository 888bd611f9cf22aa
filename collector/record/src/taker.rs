//! Takes a value apart, and compares it on the way with what it was at the instant before.
//!
//! Of most values nothing has changed but numbers. So the shape is learnt as a list of words, the
//! same list for all things of this shape, and a value is followed along it.

use std::{mem, slice};

use crate::{
    bytes::{put_bytes, put_number, zigzag},
    clocks::{Follower, Shown, followed},
    shape::{Same, Sink},
};

/// What a thing was at the instant before.
pub(crate) struct Known<'a> {
    pub(crate) script: &'a Script,
    /// What is left of its texts, each with its length.
    pub(crate) texts: &'a [u8],
    /// Its numbers, which become those of now.
    pub(crate) numbers: &'a mut [u64],
    /// Those of its numbers that follow a clock, by place.
    pub(crate) followers: &'a mut Vec<Follower>,
    pub(crate) clocks_before: &'a Shown,
    pub(crate) clocks: &'a Shown,
    /// Where changes are written.
    pub(crate) changes: &'a mut Vec<u8>,
    /// Fields that are as they were, in their order.
    pub(crate) same: &'a [Same],
}

/// A shape as words: names by their address, because the same code gives the same name.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) words: Box<[u64]>,
    /// Of each word, what the value of the field takes that begins there, if one does.
    pub(crate) fields: Box<[Extent]>,
}

/// What a value takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    words: u32,
    texts: u32,
    numbers: u32,
}

/// What a value is made of.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// The shape, as it is recorded.
    pub(crate) shape: Vec<u8>,
    /// The same as words, with the fields that they have: see [`Script`].
    pub(crate) words: Vec<u64>,
    pub(crate) fields: Vec<Extent>,
    pub(crate) texts: Vec<String>,
    pub(crate) numbers: Vec<u64>,
}

impl Description {
    pub(crate) fn clear(&mut self) {
        self.shape.clear();
        self.words.clear();
        self.fields.clear();
        self.texts.clear();
        self.numbers.clear();
    }

    /// What has been described so far.
    fn extent(&self) -> Extent {
        Extent {
            words: self.words.len() as u32,
            texts: self.texts.len() as u32,
            numbers: self.numbers.len() as u32,
        }
    }

    /// The texts, each with its length.
    pub(crate) fn joined_texts(&self) -> Box<[u8]> {
        let mut out = Vec::new();
        for text in &self.texts {
            out.extend_from_slice(&length_of(text));
            out.extend_from_slice(text.as_bytes());
        }
        out.into()
    }
}

#[inline]
fn length_of(text: &str) -> [u8; 4] {
    (text.len() as u32).to_le_bytes()
}

/// Compares a value with what is known, or describes it. Both are one type, because names have
/// other addresses in code that was made for another type. While it describes, nothing is known.
pub(crate) struct Taker<'a> {
    words: slice::Iter<'a, u64>,
    /// The next field that is as it was.
    known: Same,
    texts: &'a [u8],
    numbers: slice::IterMut<'a, u64>,
    /// How many numbers are left after the next follower.
    left_at_follower: usize,
    /// The name that goes with the token after it.
    name: Option<&'static str>,
    is_same: bool,
    rest: Rest<'a>,
}

/// What is seldom needed.
enum Rest<'a> {
    Comparing(Comparison<'a>),
    Describing(&'a mut Description),
}

struct Comparison<'a> {
    fields: &'a [Extent],
    /// The fields that are as they were, after the next one.
    same: slice::Iter<'a, Same>,
    count: usize,
    followers: &'a mut Vec<Follower>,
    /// The next follower.
    follower: usize,
    clocks_before: &'a Shown,
    clocks: &'a Shown,
    changes: &'a mut Vec<u8>,
    changed: u32,
    last_change: usize,
}

/// No number has so many after it.
const NEVER: usize = usize::MAX;

impl Comparison<'_> {
    /// How many numbers are left after the next follower.
    fn left_at_follower(&self) -> usize {
        let next = self.followers.get(self.follower);
        next.map_or(NEVER, |next| (self.count - 1).saturating_sub(next.place as usize))
    }

    /// A number that follows no clock has changed.
    fn change(&mut self, place: usize, before: u64, now: u64) {
        self.put(place, now.wrapping_sub(before));
        if let Some(clock) = followed(before, now, self.clocks_before, self.clocks) {
            self.followers.insert(self.follower, Follower { place: place as u32, clock });
            self.follower += 1;
        }
    }

    /// A number that is expected to follow its clock.
    fn follow(&mut self, place: usize, now: u64) {
        let clock = self.followers.get(self.follower).map_or(0, |it| it.clock);
        let expected = self.clocks.get(clock as usize).copied().unwrap_or(0);
        if now == expected {
            self.follower += 1;
        } else {
            self.followers.remove(self.follower);
            self.put(place, now.wrapping_sub(expected));
        }
    }

    fn put(&mut self, place: usize, step: u64) {
        put_number(self.changes, (place - self.last_change) as u64);
        put_number(self.changes, zigzag(step));
        self.last_change = place;
        self.changed += 1;
    }
}

/// A token with the name before it. An address has 56 bits at most.
#[inline]
fn named(name: Option<&'static str>, token: u8) -> u64 {
    name.map_or(0, address) << 8 | u64::from(token)
}

#[inline]
fn address(name: &'static str) -> u64 {
    name.as_ptr() as u64
}

/// What comes after the first of some texts, each with its length.
fn after_text(texts: &[u8]) -> Option<&[u8]> {
    let (length, rest) = texts.split_first_chunk()?;
    rest.get(u32::from_le_bytes(*length) as usize..)
}

/// The token of a name that goes with none.
const LONE: u8 = u8::MAX;

impl<'a> Taker<'a> {
    /// Compares.
    pub(crate) fn comparing(known: Known<'a>) -> Self {
        let Known { script, texts, numbers, followers, clocks_before, clocks, changes, same } =
            known;
        let mut same = same.iter();
        let known = same.next().copied().unwrap_or(Same::NONE);
        let (count, follower, changed, last_change) = (numbers.len(), 0, 0, 0);
        let comparison = Comparison {
            fields: &script.fields,
            same,
            count,
            followers,
            follower,
            clocks_before,
            clocks,
            changes,
            changed,
            last_change,
        };
        Self {
            words: script.words.iter(),
            known,
            texts,
            numbers: numbers.iter_mut(),
            left_at_follower: comparison.left_at_follower(),
            name: None,
            is_same: true,
            rest: Rest::Comparing(comparison),
        }
    }

    /// Describes.
    pub(crate) fn describing(description: &'a mut Description) -> Self {
        description.clear();
        Self {
            words: [].iter(),
            known: Same::NONE,
            texts: &[],
            numbers: [].iter_mut(),
            left_at_follower: NEVER,
            name: None,
            is_same: false,
            rest: Rest::Describing(description),
        }
    }

    /// Ends. Of a comparison, how many numbers have changed; `None` if more than numbers has.
    pub(crate) fn finish(mut self) -> Option<u32> {
        if self.name.is_some() {
            self.end_name();
        }
        let is_over = self.words.len() == 0 && self.texts.is_empty() && self.numbers.len() == 0;
        match self.rest {
            Rest::Comparing(comparison) if self.is_same && is_over => Some(comparison.changed),
            _ => None,
        }
    }

    /// What is described, unless this compares: then it is something else than was known.
    #[cold]
    fn unknown(&mut self) -> Option<&mut Description> {
        self.is_same = false;
        match &mut self.rest {
            Rest::Describing(description) => Some(description),
            Rest::Comparing(_) => None,
        }
    }

    #[inline(always)]
    fn is_next(&mut self, word: u64) -> bool {
        self.words.next() == Some(&word)
    }

    /// A name that goes with no token.
    #[cold]
    fn end_name(&mut self) {
        let Some(name) = self.name.take() else { return };
        let word = named(Some(name), LONE);
        if !self.is_next(word)
            && let Some(description) = self.unknown()
        {
            description.words.push(word);
            put_bytes(&mut description.shape, name.as_bytes());
        }
    }

    /// Passes over the value of the field that was named; `false` if another field was there.
    #[inline(never)]
    fn pass_over(&mut self) -> bool {
        let Rest::Comparing(comparison) = &mut self.rest else { return false };
        self.known = comparison.same.next().copied().unwrap_or(Same::NONE);
        let left = self.words.as_slice();
        let (Some(word), Some(name)) = (left.first(), self.name) else { return false };
        let field = comparison.fields.len().checked_sub(left.len());
        let field = field.and_then(|place| comparison.fields.get(place));
        let Some(field) = field.filter(|it| it.words > 0 && word >> 8 == address(name)) else {
            return false;
        };
        self.name = None;
        let numbers = mem::take(&mut self.numbers).into_slice();
        let texts = (0..field.texts).try_fold(self.texts, |texts, _| after_text(texts));
        let rest = left.get(field.words as usize..).zip(texts);
        let numbers = numbers.split_at_mut_checked(field.numbers as usize);
        let Some(((words, texts), (passed, numbers))) = rest.zip(numbers) else {
            self.is_same = false;
            return true;
        };
        while let Some(after) = self.left_at_follower.checked_sub(numbers.len())
            && let Some(number) = passed.iter().rev().nth(after)
        {
            comparison.follow(comparison.count - 1 - self.left_at_follower, *number);
            self.left_at_follower = comparison.left_at_follower();
        }
        (self.words, self.texts, self.numbers) = (words.iter(), texts, numbers.iter_mut());
        true
    }

    #[cold]
    fn note_begin(&mut self) -> usize {
        let Some(description) = self.unknown() else { return 0 };
        let begin = description.words.len();
        description.fields.resize(begin, Extent::default());
        description.fields.push(description.extent());
        begin
    }

    #[cold]
    fn note_end(&mut self, begin: usize) {
        let Some(description) = self.unknown() else { return };
        let now = description.extent();
        description.fields.resize(now.words as usize, Extent::default());
        if let Some(field) = description.fields.get_mut(begin) {
            *field = Extent {
                words: now.words - field.words,
                texts: now.texts - field.texts,
                numbers: now.numbers - field.numbers,
            };
        }
    }

    #[cold]
    fn unknown_token(&mut self, name: Option<&'static str>, token: u8) {
        let Some(description) = self.unknown() else { return };
        description.words.push(named(name, token));
        if let Some(name) = name {
            put_bytes(&mut description.shape, name.as_bytes());
        }
        description.shape.push(token);
    }

    #[cold]
    fn changed(&mut self, before: u64, now: u64) {
        let Rest::Comparing(comparison) = &mut self.rest else { return };
        comparison.change(comparison.count - 1 - self.numbers.len(), before, now);
    }

    #[cold]
    fn follow(&mut self, now: u64) {
        let Rest::Comparing(comparison) = &mut self.rest else { return };
        comparison.follow(comparison.count - 1 - self.numbers.len(), now);
        self.left_at_follower = comparison.left_at_follower();
    }
}

/// A key as words, which are given one after the other: its length, and eight bytes each.
#[inline(always)]
fn words_of(key: &str, mut each: impl FnMut(u64)) {
    each(key.len() as u64);
    let (whole, rest) = key.as_bytes().as_chunks::<8>();
    whole.iter().for_each(|bytes| each(u64::from_le_bytes(*bytes)));
    each(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
}

impl Sink for Taker<'_> {
    #[inline(always)]
    fn token(&mut self, token: u8) {
        let name = self.name.take();
        if !self.is_next(named(name, token)) {
            self.unknown_token(name, token);
        }
    }

    #[inline]
    fn length(&mut self, length: usize) {
        if !self.is_next(length as u64)
            && let Some(description) = self.unknown()
        {
            description.words.push(length as u64);
            put_number(&mut description.shape, length as u64);
        }
    }

    #[inline(always)]
    fn name(&mut self, name: &'static str) {
        if self.name.is_some() {
            self.end_name();
        }
        self.name = Some(name);
    }

    #[inline(always)]
    fn is_known(&mut self, value: Same) -> bool {
        self.known == value && self.pass_over()
    }

    #[inline(always)]
    fn begin_field(&mut self) -> usize {
        if self.is_same { 0 } else { self.note_begin() }
    }

    #[inline(always)]
    fn end_field(&mut self, begin: usize) {
        if self.name.is_some() {
            self.end_name();
        }
        if !self.is_same {
            self.note_end(begin);
        }
    }

    #[inline]
    fn key(&mut self, key: &str) {
        let mut is_same = true;
        words_of(key, |word| is_same &= self.is_next(word));
        if !is_same && let Some(description) = self.unknown() {
            words_of(key, |word| description.words.push(word));
            put_bytes(&mut description.shape, key.as_bytes());
        }
    }

    #[inline(always)]
    fn number(&mut self, number: u64) {
        match self.numbers.next() {
            Some(known) => {
                let before = mem::replace(known, number);
                if self.numbers.len() == self.left_at_follower {
                    self.follow(number);
                } else if before != number {
                    self.changed(before, number);
                }
            }
            None => {
                if let Some(description) = self.unknown() {
                    description.numbers.push(number);
                }
            }
        }
    }

    #[inline]
    fn text(&mut self, text: &str) {
        let rest = self.texts.strip_prefix(&length_of(text));
        match rest.and_then(|rest| rest.strip_prefix(text.as_bytes())) {
            Some(rest) => self.texts = rest,
            None => {
                if let Some(description) = self.unknown() {
                    description.texts.push(text.to_owned());
                }
            }
        }
    }
}
