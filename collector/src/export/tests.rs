//! A queue and its deliveries, with a receiver that answers in every way.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    task::{self, LocalSet},
    time,
};

use super::{
    batch::Batch, delivery::deliver_all, influx, queue::Queue, spool::SinkSpool, url::SinkUrl, *,
};
use crate::{config::Spool, export::fixture, published::SinkCounters};

/// What the receiver does with a request.
#[derive(Clone, Copy)]
enum Reaction {
    Answer(&'static str),
    /// Reads the request and closes the connection.
    Hang,
    /// Reads the request and never answers.
    Silence,
    /// Accepts it after a while.
    Late,
}

const OK: Reaction = Reaction::Answer("204 No Content");

/// A receiver on a port of its own. It reacts to requests as listed, and accepts the rest.
struct Receiver {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
}

impl Receiver {
    fn start(reactions: &[Reaction]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), reactions)
    }

    fn at(address: SocketAddr, reactions: &[Reaction]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let reactions = Arc::new(Mutex::new(reactions.to_vec()));
        let receiver = Self { address, bodies: Arc::clone(&bodies), stopped: Arc::clone(&stopped) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Relaxed) {
                    return;
                }
                let (bodies, reactions) = (Arc::clone(&bodies), Arc::clone(&reactions));
                let stopped = Arc::clone(&stopped);
                thread::spawn(move || serve(stream.unwrap(), &bodies, &reactions, &stopped));
            }
        });
        receiver
    }

    /// The bodies of accepted requests.
    fn accepted(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    /// Ends all connections and gives up the port.
    fn kill(self) -> SocketAddr {
        self.stopped.store(true, Relaxed);
        drop(TcpStream::connect(self.address));
        while TcpListener::bind(self.address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        self.address
    }
}

fn serve(
    mut stream: TcpStream,
    bodies: &Mutex<Vec<String>>,
    reactions: &Mutex<Vec<Reaction>>,
    stopped: &AtomicBool,
) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut read = Vec::new();
    while !stopped.load(Relaxed) {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
            Err(_) => continue,
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.unwrap().parse::<usize>().unwrap() {
            continue;
        }
        read.clear();
        let mut reactions = reactions.lock().unwrap();
        let reaction = if reactions.is_empty() { OK } else { reactions.remove(0) };
        drop(reactions);
        let status = match reaction {
            Reaction::Answer(status) => status,
            Reaction::Hang => return,
            Reaction::Silence => continue,
            Reaction::Late => {
                thread::sleep(Duration::from_millis(300));
                "204 No Content"
            }
        };
        if status.starts_with('2') {
            bodies.lock().unwrap().push(body.to_owned());
        }
        // In one piece, or the kernel waits between two.
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// A queue that is delivered to an address.
struct Sender {
    queue: Rc<Queue>,
    counters: Arc<SinkCounters>,
    task: task::JoinHandle<()>,
}

impl Sender {
    fn start(address: SocketAddr, bytes_max: usize, spool: Option<SinkSpool>) -> Self {
        let url = format!("influx+http://{address}?db=a");
        let sink = fixture::sink(&url);
        let made = (influx::SCHEME.make)(&sink, &SinkUrl::parse(&url).unwrap()).unwrap();
        let counters = Arc::new(SinkCounters::new("test".to_owned(), bytes_max as u64));
        let queue = Queue::new("test".to_owned(), bytes_max, spool, Arc::clone(&counters));
        let queue = Rc::new(queue);
        let deliveries = deliver_all(
            "test".to_owned(),
            Rc::clone(&queue),
            made.transport,
            Arc::clone(&counters),
            Rc::default(),
        );
        Self { queue, counters, task: task::spawn_local(deliveries) }
    }

    fn push(&self, number: u32) {
        self.queue.push(batch(number));
    }

    async fn drained(&self) {
        let wait = async {
            while !self.queue.is_empty() {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }
}

fn batch(number: u32) -> Batch {
    Batch { payload: Bytes::from(text(number)), points: 10, made_at: Timestamp::now() }
}

/// A hundred bytes.
fn text(number: u32) -> String {
    format!("{number:0100}")
}

fn texts(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(text).collect()
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

fn spool(directory: &std::path::Path, bytes_max: u64) -> SinkSpool {
    let age_max = Duration::from_secs(3600);
    let spool = Spool { directory: directory.to_owned(), bytes_max, age_max };
    SinkSpool::open(&spool, "test").unwrap()
}

#[test]
fn batches_arrive_once_and_in_order_after_failures() {
    block_on(async {
        let reactions = [
            OK,
            Reaction::Answer("500 Internal Server Error"),
            Reaction::Answer("429 Too Many Requests\r\nretry-after: 1"),
            Reaction::Hang,
        ];
        let receiver = Receiver::start(&reactions);
        let sender = Sender::start(receiver.address, 1 << 20, None);
        (0..5).for_each(|number| sender.push(number));
        let begun = std::time::Instant::now();
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts(0..5));
        let stats = sender.counters.now();
        assert_eq!((stats.delivered_points, stats.retries, stats.sent_bytes), (50, 3, 500));
        assert_eq!((stats.rejected_points, stats.lag_seconds, stats.queue_bytes), (0, 0.0, 0));
        assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
    });
}

#[test]
fn a_refused_batch_is_dropped_and_counted() {
    block_on(async {
        let receiver = Receiver::start(&[Reaction::Answer("400 Bad Request")]);
        let sender = Sender::start(receiver.address, 1 << 20, None);
        (0..3).for_each(|number| sender.push(number));
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts(1..3));
        let stats = sender.counters.now();
        assert_eq!((stats.delivered_points, stats.rejected_points, stats.retries), (20, 10, 0));
    });
}

#[test]
fn a_full_queue_drops_the_oldest_batch_that_is_not_under_way() {
    block_on(async {
        let receiver = Receiver::start(&[]);
        let address = receiver.kill();
        let sender = Sender::start(address, 350, None);
        sender.push(0);
        while sender.counters.now().retries == 0 {
            time::sleep(Duration::from_millis(5)).await;
        }
        (1..10).for_each(|number| sender.push(number));
        let stats = sender.counters.now();
        assert_eq!((stats.queue_bytes, stats.overflowed_points), (300, 70));
        assert!(stats.lag_seconds > 0.0);
        let receiver = Receiver::at(address, &[]);
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts([0, 8, 9]));
    });
}

#[test]
fn a_dead_receiver_delays_no_other_sink() {
    block_on(async {
        // It accepts connections and never answers.
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = Sender::start(mute.local_addr().unwrap(), 1 << 20, None);
        let receiver = Receiver::start(&[]);
        let alive = Sender::start(receiver.address, 1 << 20, None);
        dead.push(0);
        alive.push(1);
        let begun = std::time::Instant::now();
        alive.drained().await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(!dead.queue.is_empty() && receiver.accepted() == texts([1]));
    });
}

#[test]
fn a_spool_survives_the_process_and_a_damaged_batch_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let address = Receiver::start(&[]).kill();
    block_on(async {
        let sender = Sender::start(address, 250, Some(spool(directory.path(), 1 << 20)));
        (0..6).for_each(|number| sender.push(number));
        let stats = sender.counters.now();
        // What finds no room in memory is on disk.
        assert_eq!((stats.overflowed_points, stats.queue_bytes), (0, 200));
        assert!(stats.spool_bytes > 600);
        // As if the process were killed here.
        sender.task.abort();
    });
    let sink = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let files = std::fs::read_dir(sink).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| !path.ends_with("lock")).collect();
    files.sort();
    assert_eq!(files.len(), 6);
    std::fs::write(&files[2], "torn").unwrap();
    let receiver = Receiver::at(address, &[]);
    block_on(async {
        let sender = Sender::start(address, 250, Some(spool(directory.path(), 1 << 20)));
        sender.push(6);
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts([0, 1, 3, 4, 5, 6]));
        let stats = sender.counters.now();
        assert_eq!((stats.corrupt_batches, stats.delivered_points, stats.spool_bytes), (1, 60, 0));
        sender.task.abort();
    });
}

#[test]
fn a_full_spool_drops_the_oldest() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let address = Receiver::start(&[]).kill();
        let sender = Sender::start(address, 1 << 20, Some(spool(directory.path(), 400)));
        (0..6).for_each(|number| sender.push(number));
        let stats = sender.counters.now();
        assert_eq!(stats.overflowed_points, 30);
        assert!(stats.spool_bytes <= 400);
        let receiver = Receiver::at(address, &[]);
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts([0, 4, 5]));
    });
}

#[test]
fn without_room_on_disk_batches_are_in_memory_only() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool(directory.path(), 1 << 20);
        // A directory that is gone takes no file, as a disk without room.
        directory.close().unwrap();
        let receiver = Receiver::start(&[]);
        let sender = Sender::start(receiver.address, 1 << 20, Some(spool));
        (0..3).for_each(|number| sender.push(number));
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts(0..3));
    });
}

#[test]
fn an_hour_of_batches_waits_on_disk_and_arrives_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let address = Receiver::start(&[]).kill();
        // Memory for a hundred of them.
        let sender = Sender::start(address, 10_000, Some(spool(directory.path(), 1 << 20)));
        for number in 0..3600 {
            sender.push(number);
            task::yield_now().await;
        }
        let stats = sender.counters.now();
        assert!(stats.queue_bytes <= 10_000 && stats.spool_bytes > 360_000);
        let receiver = Receiver::at(address, &[]);
        sender.drained().await;
        assert!(receiver.accepted() == texts(0..3600));
        let stats = sender.counters.now();
        assert_eq!((stats.delivered_points, stats.spool_bytes), (36_000, 0));
        assert_eq!((stats.overflowed_points, stats.corrupt_batches), (0, 0));
    });
}

#[test]
fn a_receiver_that_is_slow_or_silent_for_a_while_gets_each_batch_once() {
    block_on(async {
        let receiver = Receiver::start(&[Reaction::Late, Reaction::Silence, Reaction::Late]);
        let sender = Sender::start(receiver.address, 1 << 20, None);
        (0..5).for_each(|number| sender.push(number));
        sender.drained().await;
        assert_eq!(receiver.accepted(), texts(0..5));
        let stats = sender.counters.now();
        assert_eq!((stats.delivered_points, stats.retries, stats.rejected_points), (50, 1, 0));
    });
}
