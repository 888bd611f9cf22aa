//! Asks a running daemon for a snapshot: it has a history and answers at once.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tare_model::Snapshot;
use tokio::{net::UnixStream, task, time};

use crate::{
    config::{self, Bpf, Common, DEFAULT_SOCKET, TaskPasses},
    identity::{KeyFilter, Socket},
    snapshot::file,
};

/// How long the daemon may take. A snapshot without it takes about a second.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A snapshot older than this is not used.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The snapshot of the daemon; `None` if none is to be asked, or if none answers as it should.
pub(crate) async fn snapshot(common: &Common, options: &config::Snapshot) -> Option<Snapshot> {
    let asked = try_snapshot(common, options).await;
    asked.unwrap_or_else(|message| {
        tracing::warn!("{message}");
        None
    })
}

/// The same for one who asks again and again: why a daemon that answers is not used.
///
/// # Errors
///
/// The sentence for the log.
pub(crate) async fn try_snapshot(
    common: &Common,
    options: &config::Snapshot,
) -> Result<Option<Snapshot>, String> {
    let Some(path) = socket(common, options) else { return Ok(None) };
    let asked = time::timeout(TIMEOUT, ask(&path, options.window)).await;
    let answer = asked.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", TIMEOUT.as_secs())));
    match answer {
        Ok(snapshot) => Ok(Some(snapshot)),
        // On most hosts there is no daemon.
        Err(error) if options.daemon == Socket::Auto && is_missing(&error) => Ok(None),
        Err(error) => Err(format!("the daemon at {} is not used: {error:#}", path.display())),
    }
}

/// Where to ask. The daemon of this host is not asked if options say to look at something else, or
/// in another way.
fn socket(common: &Common, options: &config::Snapshot) -> Option<PathBuf> {
    let is_default = common.cgroup_root.is_none()
        && common.proc_root == Path::new("/proc")
        && common.sys_root == Path::new("/sys")
        && common.bpf == Bpf::Auto
        && common.net_level.is_none()
        && common.tasks == TaskPasses::Auto
        && common.labels == KeyFilter::default()
        && common.environment == KeyFilter::default();
    match &options.daemon {
        Socket::Off => None,
        Socket::Path(path) => Some(path.clone()),
        Socket::Auto => is_default.then(|| PathBuf::from(DEFAULT_SOCKET)),
    }
}

async fn ask(path: &Path, window: Duration) -> Result<Snapshot> {
    let stream = UnixStream::connect(path).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = task::spawn(connection);
    // Without a window, the daemon takes the time between its last two samples.
    let query =
        if window.is_zero() { String::new() } else { format!("?window={}", window.as_secs_f64()) };
    let request = Request::get(format!("/api/v1/snapshot{query}"))
        .header(header::HOST, "tare")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("it does not speak HTTP")?;
    let status = response.status();
    ensure!(status == StatusCode::OK, "it answers {status}");
    let bytes_max = usize::try_from(file::MAX_BYTES).unwrap_or(usize::MAX);
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow!(error)).context("its answer breaks off")?;
    let snapshot = file::parse(body.to_bytes().into()).context("its answer cannot be read")?;
    let age = Timestamp::now().duration_since(snapshot.report.time).unsigned_abs();
    if age > AGE_MAX {
        bail!("its last sample is {} s old", age.as_secs());
    }
    Ok(snapshot)
}

fn is_missing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
