//! A receiver of `InfluxDB`'s line protocol that does as it is told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

/// How often a connection looks whether the receiver was stopped.
const POLL: Duration = Duration::from_millis(20);

/// What the receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Accepts it.
    Accept,
    /// Answers with this status and these headers.
    Answer(&'static str),
    /// Reads it and never answers.
    Silence,
}

/// A request that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The request line and the headers.
    pub head: String,
    /// The body, decompressed.
    pub text: String,
}

/// A receiver; stopped on drop.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    accepted: Mutex<Vec<Accepted>>,
    behaviour: Mutex<Behaviour>,
    stopped: AtomicBool,
}

impl Accepted {
    /// The time of its lines, in nanoseconds since 1970; a batch has lines of one sample.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        self.text.lines().next()?.rsplit(' ').next()?.parse().ok()
    }
}

impl Receiver {
    /// Listens at an address; port 0 is any free one.
    pub fn start(address: &str, behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("bind {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            accepted: Mutex::default(),
            behaviour: behaviour.into(),
            stopped: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.stopped.load(Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { address, shared })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what it does from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// What it has accepted, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        lock(&self.shared.accepted).clone()
    }

    /// The times of what it has accepted, in order.
    #[must_use]
    pub fn times(&self) -> Vec<i64> {
        lock(&self.shared.accepted).iter().filter_map(Accepted::time).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        // The thread that waits for connections must notice it.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(POLL))?;
        let mut read = Vec::new();
        while !self.stopped.load(Relaxed) {
            let mut chunk = [0; 65_536];
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => read.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                Err(_) => continue,
            }
            let Some((head, body)) = request(&read)? else { continue };
            read.clear();
            let behaviour = *lock(&self.behaviour);
            let status = match behaviour {
                Behaviour::Accept => "204 No Content",
                Behaviour::Answer(status) => status,
                Behaviour::Silence => continue,
            };
            if status.starts_with('2') {
                let mut text = String::new();
                GzDecoder::new(&*body).read_to_string(&mut text)?;
                lock(&self.accepted).push(Accepted { head, text });
            }
            // In one piece, or the kernel waits between two.
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    }
}

/// Head and body of a complete request.
fn request(read: &[u8]) -> Result<Option<(String, Vec<u8>)>> {
    let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = read.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("a request without a length")?.parse()?;
    Ok((body.len() >= length).then(|| (head, body.to_vec())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
