//! Sockets in known states, on the loopback device of this process's network namespace.

use std::{
    convert::Infallible,
    io::Read as _,
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::signals;

/// Bytes of each datagram.
const DATAGRAM: [u8; 100] = [7; 100];

#[derive(Args, Debug)]
pub(super) struct Sockets {
    /// Addresses of the loopback device.
    #[arg(long, value_name = "IP[,IP]...", value_delimiter = ',', default_value = "127.0.0.1")]
    addr: Vec<IpAddr>,
    /// TCP sockets that listen, at each address.
    #[arg(long, default_value_t = 1)]
    listen: u32,
    /// Established connections, both of whose sockets are here.
    #[arg(long, default_value_t = 0)]
    established: u32,
    /// Connections that were closed a moment ago, of which one socket is in `TIME_WAIT`.
    #[arg(long, default_value_t = 0)]
    time_wait: u32,
    /// UDP sockets.
    #[arg(long, default_value_t = 0)]
    udp: u32,
    /// Datagrams that wait at each of them.
    #[arg(long, default_value_t = 0)]
    queued: u32,
}

/// What is held open.
#[derive(Default)]
struct Held {
    listeners: Vec<TcpListener>,
    streams: Vec<TcpStream>,
    udp: Vec<UdpSocket>,
}

impl Sockets {
    /// Holds them until SIGTERM.
    pub(super) fn hold(self) -> Result<Infallible> {
        let mut held = Held::default();
        for addr in &self.addr {
            self.open(SocketAddr::new(*addr, 0), &mut held)
                .with_context(|| format!("sockets at {addr}"))?;
        }
        super::say_ready()?;
        signals::stay()
    }

    fn open(&self, addr: SocketAddr, held: &mut Held) -> Result<()> {
        for _ in 0..self.listen {
            held.listeners.push(TcpListener::bind(addr)?);
        }
        if let Some(listener) = held.listeners.last() {
            for _ in 0..self.established {
                held.streams.extend(connection(listener)?);
            }
            for _ in 0..self.time_wait {
                let [mut first, mut last] = connection(listener)?;
                first.shutdown(Shutdown::Write)?;
                ensure!(last.read(&mut [0])? == 0, "the end did not arrive");
                drop(last);
                ensure!(first.read(&mut [0])? == 0, "the other end did not arrive");
            }
        }
        for _ in 0..self.udp {
            let socket = UdpSocket::bind(addr)?;
            let sender = UdpSocket::bind(addr)?;
            for _ in 0..self.queued {
                sender.send_to(&DATAGRAM, socket.local_addr()?)?;
            }
            held.udp.push(socket);
        }
        Ok(())
    }
}

/// Both ends of a new connection.
fn connection(listener: &TcpListener) -> Result<[TcpStream; 2]> {
    let from = TcpStream::connect(listener.local_addr()?)?;
    let (to, _) = listener.accept()?;
    Ok([from, to])
}
