use std::collections::BTreeMap;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::*;
use crate::identity::{IdentityKind, KeyFilter};

const SOON: Duration = Duration::from_secs(5);

const LIST: &str =
    r#"[{"Id":"aaa","Names":["/other/alias","/web"],"Image":"nginx:1","Labels":{"k":"v"}}]"#;

const INSPECT: &str = r#"{"Id":"aaa","Name":"/web","Image":"sha256:0","RestartCount":2,
    "Config":{"Image":"nginx:1","Labels":{"k":"v","secret":"s"},"Env":["ZONE=a","TOKEN=s"]},
    "State":{"StartedAt":"2026-01-16T13:55:22.165243637Z","Health":{"Status":"healthy"}}}"#;

/// An event of a container that nobody has asked about.
const CREATE: &str = r#"{"Type":"container","Action":"create",
    "Actor":{"ID":"bbb","Attributes":{"name":"late","image":"nginx:2"}}}"#;

/// A daemon that knows the container `aaa` and notes the requests.
struct FakeDaemon {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    _directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl FakeDaemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(serve(listener, Arc::clone(&requests)));
        Self { socket, requests, _directory: directory, task }
    }

    /// Requests for anything but events.
    fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|path| !path.starts_with("/events")).cloned().collect()
    }
}

async fn serve(listener: UnixListener, requests: Arc<Mutex<Vec<String>>>) {
    // Dropped, and with it every connection, when the daemon goes.
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

/// A body without a length goes on for ever.
async fn respond(stream: &mut UnixStream, status: &str, length: Option<usize>, body: &str) {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{length}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

fn names(socket: Socket) -> MetadataResolver {
    let off = || Socket::Off;
    let sockets = RuntimeSockets { docker: socket, podman: off(), cri: off() };
    let allowed =
        MetadataFilter { labels: KeyFilter::new(["k"]), environment: KeyFilter::new(["ZONE"]) };
    MetadataResolver::new(sockets, allowed)
}

fn at(socket: &Path) -> MetadataResolver {
    names(Socket::Path(socket.to_owned()))
}

fn container(id: &str) -> Identity {
    let (kind, runtime) = (IdentityKind::Container, Runtime::Docker);
    Identity { kind, runtime, id: id.to_owned(), pod: None, user: None }
}

fn status(names: &MetadataResolver) -> Option<ConnectionStatus> {
    let all = names.statuses();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().and_then(|(_, status)| status)
}

#[tokio::test]
async fn names_arrive_and_stay() {
    let daemon = FakeDaemon::start();
    let mut names = at(&daemon.socket);
    assert_eq!(names.get(&container("aaa")), None);
    assert_eq!(status(&names), Some(ConnectionStatus::Connecting));
    for id in ["aaa", "ccc", "odd"] {
        names.get(&container(id));
    }
    names.wait_settled(SOON).await;
    assert_eq!(status(&names), Some(ConnectionStatus::Connected));
    let details = names.get(&container("aaa")).unwrap();
    assert_eq!((details.name.as_str(), details.image.as_deref()), ("web", Some("nginx:1")));
    assert_eq!(details.labels, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    assert_eq!(details.started_at.unwrap().to_string(), "2026-01-16T13:55:22.165243637Z");
    let told = (details.restart_count, details.health, details.sandbox);
    assert_eq!(told, (Some(2), Some(crate::identity::Health::Healthy), Some(false)));
    assert_eq!((names.get(&container("ccc")), names.get(&container("odd"))), (None, None));
    names.wait_settled(SOON).await;
    assert_eq!(daemon.requests().len(), 4, "each asked once: {:?}", daemon.requests());

    // The daemon goes; what is known stays, what is new fails without a wait.
    daemon.task.abort();
    std::fs::remove_file(&daemon.socket).unwrap();
    while status(&names) == Some(ConnectionStatus::Connected) {
        time::sleep(Duration::from_millis(1)).await;
    }
    names.get(&container("ddd"));
    names.wait_settled(SOON).await;
    assert!(matches!(status(&names), Some(ConnectionStatus::Failed(_))));
    assert!(names.get(&container("aaa")).is_some());
}

#[tokio::test]
async fn an_event_tells_a_name_before_anybody_asks() {
    let daemon = FakeDaemon::start();
    let mut names = at(&daemon.socket);
    names.get(&container("aaa"));
    let told = async {
        loop {
            if let Some(details) = names.shared.book().lookup("bbb") {
                return details;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(time::timeout(SOON, told).await.unwrap().name, "late");
    assert!(!daemon.requests().iter().any(|path| path.contains("bbb")));
}

#[tokio::test]
async fn a_missing_daemon_fails_at_once() {
    let mut names = at(Path::new("/nonexistent/docker.sock"));
    names.get(&container("aaa"));
    names.wait_settled(SOON).await;
    let missing = "no Docker socket at /nonexistent/docker.sock".to_owned();
    assert_eq!(status(&names), Some(ConnectionStatus::Failed(missing)));
}

#[tokio::test]
async fn a_daemon_that_hangs_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let mut names = at(&socket);
    names.get(&container("aaa"));
    names.wait_settled(SOON).await;
    let reason = format!("{}: Timeout error", socket.display());
    assert_eq!(status(&names), Some(ConnectionStatus::Failed(reason)));
}

#[tokio::test]
async fn a_cri_server_that_hangs_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let cri = Socket::Path(socket.clone());
    let sockets = RuntimeSockets { docker: Socket::Off, podman: Socket::Off, cri };
    let mut names = MetadataResolver::new(sockets, MetadataFilter::default());
    let runtime = Runtime::Containerd;
    assert_eq!(names.get(&Identity { runtime, ..container("aaa") }), None);
    names.wait_settled(SOON).await;
    let Some(ConnectionStatus::Failed(reason)) = status(&names) else {
        panic!("{:?}", names.statuses())
    };
    assert!(reason.starts_with(&format!("{}: ", socket.display())), "{reason}");
}

#[tokio::test]
async fn off_asks_nobody() {
    let mut names = names(Socket::Off);
    assert_eq!(names.get(&container("aaa")), None);
    names.wait_settled(SOON).await;
    assert_eq!((status(&names), names.get(&container("aaa"))), (None, None));
}

#[test]
fn every_daemon_has_its_default_sockets() {
    let places = |daemon, user, host| RuntimeGroup { api: daemon, user }.default_sockets(host);
    let path = |text: &str| PathBuf::from(text);
    let usual = vec![vec![path("/var/run/docker.sock"), path("/run/docker.sock")]];
    let docker = |host| places(RuntimeApi::Docker, None, host);
    assert_eq!(docker(Some("unix:///tmp/d.sock")), [[path("/tmp/d.sock")]]);
    assert_eq!(docker(Some("tcp://10.0.0.1:2375")), usual);
    assert_eq!(docker(None), usual);
    let own = places(RuntimeApi::Podman, Some(1000), None);
    assert_eq!(own, [[path("/run/user/1000/podman/podman.sock")]]);
    assert_eq!(places(RuntimeApi::Containerd, None, None).len(), 3);
}
