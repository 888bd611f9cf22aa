//! Prints the five containers that use the most CPU, as a running `tare run` sees them.
//!
//! `top_five [SOCKET]` reads `/api/v1/snapshot` from the daemon's unix socket. Every type of the
//! answer is in [`tare_model`].

use std::env;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tare::DEFAULT_SOCKET;
use tare_model::Snapshot;
use tokio::net::UnixStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let socket = env::args().nth(1).unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
    let report = snapshot(&socket).await.with_context(|| format!("cannot read {socket}"))?.report;

    // An unknown percentage is `None`, never 0.
    let containers = report.containers.iter();
    let mut busiest: Vec<_> = containers.filter_map(|row| Some((row.cpu.percent?, row))).collect();
    busiest.sort_by(|(left, _), (right, _)| right.total_cmp(left));

    println!("{:>7}  {:>12}  NAME", "CPU %", "MEMORY");
    for (percent, row) in busiest.into_iter().take(5) {
        let memory = row.memory.working_set_bytes.map(|bytes| format!("{} KiB", bytes / 1024));
        let name = row.name.as_ref().unwrap_or(&row.id);
        println!("{percent:>7.2}  {:>12}  {name}", memory.as_deref().unwrap_or("--"));
    }
    Ok(())
}

async fn snapshot(socket: &str) -> Result<Snapshot> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::get("/api/v1/snapshot").header(HOST, "tare").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "the daemon answers {}", response.status());
    Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
}
