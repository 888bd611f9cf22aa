//! The length of the run queue, smoothed as acadock does.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// How much time one mean stands for (`QUEUE_LENGTH_SAMPLING_INTERVAL` of acadock).
const MEAN_OVER: SignedDuration = SignedDuration::from_secs(5);

/// How many means are smoothed (`QUEUE_LENGTH_ELEMENTS_NEEDED` of acadock).
const MEANS: usize = 6;

/// Means of the number of tasks that run or wait for a CPU.
#[derive(Debug, Default)]
pub(super) struct QueueLength {
    began: Option<Timestamp>,
    sum: f64,
    count: f64,
    /// The oldest first.
    means: VecDeque<f64>,
}

impl QueueLength {
    /// Adds the tasks that run or wait at an instant.
    pub(super) fn add(&mut self, at: Timestamp, tasks: u64) {
        let began = *self.began.get_or_insert(at);
        self.sum += tasks as f64;
        self.count += 1.0;
        if at.duration_since(began) < MEAN_OVER {
            return;
        }
        if self.means.len() == MEANS {
            self.means.pop_front();
        }
        self.means.push_back(self.sum / self.count);
        (self.began, self.sum, self.count) = (Some(at), 0.0, 0.0);
    }

    /// Their exponential smoothing; `None` until there are enough means.
    pub(super) fn smoothed(&self) -> Option<f64> {
        if self.means.len() < MEANS {
            return None;
        }
        let alpha = (-(MEANS as f64)).exp();
        self.means.iter().copied().reduce(|smoothed, mean| alpha * mean + (1.0 - alpha) * smoothed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(tasks: impl IntoIterator<Item = u64>) -> QueueLength {
        let mut queue = QueueLength::default();
        for (second, tasks) in tasks.into_iter().enumerate() {
            queue.add(Timestamp::from_second(1_000 + second as i64).unwrap(), tasks);
        }
        queue
    }

    #[test]
    fn it_is_unknown_for_the_first_half_minute() {
        assert_eq!(fed(std::iter::repeat_n(3, 30)).smoothed(), None);
        assert_eq!(fed(std::iter::repeat_n(3, 31)).smoothed(), Some(3.0));
    }

    #[test]
    fn old_means_weigh_most_and_are_forgotten() {
        let smoothed = fed(std::iter::repeat_n(2, 31).chain(std::iter::repeat_n(100, 5)));
        assert!((2.0..3.0).contains(&smoothed.smoothed().unwrap()));
        let smoothed = fed(std::iter::repeat_n(2, 31).chain(std::iter::repeat_n(100, 60)));
        assert_eq!(smoothed.smoothed(), Some(100.0));
    }
}
