use std::{collections::BTreeMap, path::Path, sync::Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use super::*;
use crate::identity::{IdentityKind, KeyFilter, Socket, metadata::Health, path::Runtime};

const SOON: Duration = Duration::from_secs(5);

const LIST: &str =
    r#"[{"Id":"aaa","Names":["/other/alias","/web"],"Image":"nginx:1","Labels":{"k":"v"}}]"#;

const INSPECT: &str = r#"{"Id":"aaa","Name":"/web","Image":"sha256:0","RestartCount":2,
    "Config":{"Image":"nginx:1","Labels":{"k":"v","secret":"s"},"Env":["ZONE=a","TOKEN=s"]},
    "State":{"StartedAt":"2026-01-16T13:55:22.165243637Z","Health":{"Status":"healthy"}}}"#;

/// An event of a container that was never requested.
const CREATE: &str = r#"{"Type":"container","Action":"create",
    "Actor":{"ID":"bbb","Attributes":{"name":"late","image":"nginx:2"}}}"#;

/// A server that knows the container `aaa` and records the requests.
struct FakeServer {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    _directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl FakeServer {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(serve(listener, Arc::clone(&requests)));
        Self { socket, requests, _directory: directory, task }
    }

    /// The requests, but for that of events.
    fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|path| !path.starts_with("/events")).cloned().collect()
    }
}

async fn serve(listener: UnixListener, requests: Arc<Mutex<Vec<String>>>) {
    // Aborting the task drops the connections too.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, Arc::clone(&requests)));
    }
}

async fn converse(mut stream: UnixStream, requests: Arc<Mutex<Vec<String>>>) {
    let mut head = vec![0; 4096];
    let length = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(path.clone());
    let (status, body) = match path.split('?').next().unwrap() {
        "/events" => {
            let line = CREATE.replace('\n', "") + "\n";
            respond(&mut stream, "200 OK", None, &line).await;
            return std::future::pending().await;
        }
        "/containers/json" => ("200 OK", LIST),
        "/containers/aaa/json" => ("200 OK", INSPECT),
        "/containers/odd/json" => ("200 OK", "[]"),
        _ => ("404 Not Found", r#"{"message":"No such container"}"#),
    };
    respond(&mut stream, status, Some(body.len()), body).await;
}

/// A body without a length ends with the connection.
async fn respond(stream: &mut UnixStream, status: &str, length: Option<usize>, body: &str) {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{length}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

fn resolver(socket: Socket) -> MetadataResolver {
    let off = || Socket::Off;
    let sockets = RuntimeSockets { docker: socket, podman: off(), cri: off() };
    let filter = MetadataFilter {
        labels: KeyFilter::new(["k"]),
        environment: KeyFilter::new(["ZONE"]),
        writable_layers: false,
    };
    MetadataResolver::new(sockets, filter)
}

fn at(socket: &Path) -> MetadataResolver {
    resolver(Socket::Path(socket.to_owned()))
}

fn container(id: &str) -> Identity {
    let (kind, runtime) = (IdentityKind::Container, Runtime::Docker);
    Identity { kind, runtime, id: id.to_owned(), pod: None, user: None }
}

fn status(resolver: &MetadataResolver) -> Option<ConnectionStatus> {
    let all = resolver.statuses();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().and_then(|(_, status)| status)
}

/// The only reason why the only group has no connection.
fn failure(resolver: &MetadataResolver) -> String {
    match status(resolver) {
        Some(ConnectionStatus::Failed(reasons)) if reasons.len() == 1 => reasons[0].to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn metadata_arrives_and_stays() {
    let daemon = FakeServer::start();
    let mut resolver = at(&daemon.socket);
    assert_eq!(resolver.get(&container("aaa")), None);
    assert_eq!(status(&resolver), Some(ConnectionStatus::Connecting));
    for id in ["aaa", "ccc", "odd"] {
        resolver.get(&container(id));
    }
    resolver.wait_settled(SOON).await;
    assert_eq!(status(&resolver), Some(ConnectionStatus::Connected));
    let metadata = resolver.get(&container("aaa")).unwrap();
    assert_eq!((metadata.name.as_str(), metadata.image.as_deref()), ("web", Some("nginx:1")));
    assert_eq!(metadata.labels, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    assert_eq!(metadata.started_at.unwrap().to_string(), "2026-01-16T13:55:22.165243637Z");
    let rest = (metadata.restart_count, metadata.health, metadata.sandbox);
    assert_eq!(rest, (Some(2), Some(Health::Healthy), Some(false)));
    assert_eq!((resolver.get(&container("ccc")), resolver.get(&container("odd"))), (None, None));
    resolver.wait_settled(SOON).await;
    assert_eq!(daemon.requests().len(), 4, "each requested once: {:?}", daemon.requests());

    // Without the daemon, cached metadata stays, and a new request fails without a wait.
    daemon.task.abort();
    std::fs::remove_file(&daemon.socket).unwrap();
    while status(&resolver) == Some(ConnectionStatus::Connected) {
        time::sleep(Duration::from_millis(1)).await;
    }
    resolver.get(&container("ddd"));
    resolver.wait_settled(SOON).await;
    assert!(matches!(status(&resolver), Some(ConnectionStatus::Failed(_))));
    assert!(resolver.get(&container("aaa")).is_some());
}

#[tokio::test]
async fn an_event_brings_a_name_without_a_request() {
    let daemon = FakeServer::start();
    let mut resolver = at(&daemon.socket);
    resolver.get(&container("aaa"));
    let arrived = async {
        loop {
            if let Some(metadata) = resolver.shared.lock().metadata("bbb") {
                return metadata;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(time::timeout(SOON, arrived).await.unwrap().name, "late");
    assert!(!daemon.requests().iter().any(|path| path.contains("bbb")));
}

#[tokio::test]
async fn a_missing_daemon_fails_at_once() {
    let mut resolver = at(Path::new("/nonexistent/docker.sock"));
    resolver.get(&container("aaa"));
    resolver.wait_settled(SOON).await;
    assert_eq!(failure(&resolver), "no Docker socket at /nonexistent/docker.sock");
}

#[tokio::test]
async fn a_daemon_that_hangs_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let mut resolver = at(&socket);
    resolver.get(&container("aaa"));
    resolver.wait_settled(SOON).await;
    assert_eq!(failure(&resolver), format!("{}: no answer within 2 s", socket.display()));
}

#[tokio::test]
async fn a_cri_server_that_hangs_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let cri = Socket::Path(socket.clone());
    let sockets = RuntimeSockets { docker: Socket::Off, podman: Socket::Off, cri };
    let mut resolver = MetadataResolver::new(sockets, MetadataFilter::default());
    let runtime = Runtime::Containerd;
    assert_eq!(resolver.get(&Identity { runtime, ..container("aaa") }), None);
    resolver.wait_settled(SOON).await;
    assert_eq!(failure(&resolver), format!("{}: no answer within 2 s", socket.display()));
}

#[tokio::test]
async fn off_contacts_no_runtime() {
    let mut resolver = resolver(Socket::Off);
    assert_eq!(resolver.get(&container("aaa")), None);
    resolver.wait_settled(SOON).await;
    assert_eq!((status(&resolver), resolver.get(&container("aaa"))), (None, None));
}
