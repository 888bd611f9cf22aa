use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use std::collections::BTreeMap;

use super::*;

const SOON: Duration = Duration::from_secs(5);

const LIST: &str =
    r#"[{"Id":"aaa","Names":["/other/alias","/web"],"Image":"nginx:1","Labels":{"k":"v"}}]"#;

const INSPECT: &str = r#"{"Id":"aaa","Name":"/web","Image":"sha256:0",
    "Config":{"Image":"nginx:1","Labels":{"k":"v"}},
    "State":{"StartedAt":"2026-01-16T13:55:22.165243637Z"}}"#;

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

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(listener: UnixListener, requests: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match path.split('?').next().unwrap() {
            "/containers/json" => ("200 OK", LIST),
            "/containers/aaa/json" => ("200 OK", INSPECT),
            "/containers/odd/json" => ("200 OK", "[]"),
            _ => ("404 Not Found", r#"{"message":"No such container"}"#),
        };
        requests.lock().unwrap().push(path);
        let length = body.len();
        let type_ = "Content-Type: application/json";
        let response =
            format!("HTTP/1.1 {status}\r\n{type_}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn names_arrive_and_stay() {
    let daemon = FakeDaemon::start();
    let names =
        DockerNames::spawn(DockerSocket::Path(daemon.socket.clone()), AllowedLabels::new(["k"]));
    assert_eq!((names.status(), names.lookup("aaa")), (Status::Connecting, None));
    names.want("aaa");
    names.want("aaa");
    names.want("bbb");
    names.want("odd");
    names.settled(SOON).await;
    assert_eq!(names.status(), Status::Connected);
    let details = names.lookup("aaa").unwrap();
    assert_eq!((details.name.as_str(), details.image.as_deref()), ("web", Some("nginx:1")));
    assert_eq!(details.labels, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    assert_eq!(details.started_at.unwrap().to_string(), "2026-01-16T13:55:22.165243637Z");
    assert_eq!((names.lookup("bbb"), names.lookup("odd")), (None, None));

    names.want("aaa");
    names.want("bbb");
    names.settled(SOON).await;
    assert_eq!(daemon.requests().len(), 4, "each asked once: {:?}", daemon.requests());

    // The daemon goes; what is known stays, what is new fails without a wait.
    daemon.task.abort();
    std::fs::remove_file(&daemon.socket).unwrap();
    names.want("ccc");
    while names.status() == Status::Connected {
        time::sleep(Duration::from_millis(1)).await;
    }
    names.settled(SOON).await;
    assert!(matches!(names.status(), Status::Failed(_)));
    assert!(names.lookup("aaa").is_some());
}

#[tokio::test]
async fn a_listed_container_has_its_name_at_once() {
    let daemon = FakeDaemon::start();
    let names =
        DockerNames::spawn(DockerSocket::Path(daemon.socket.clone()), AllowedLabels::new(["k"]));
    names.settled(SOON).await;
    assert_eq!(names.lookup("aaa").unwrap().name, "web");
    assert_eq!(daemon.requests(), ["/containers/json"]);
}

#[tokio::test]
async fn a_missing_daemon_fails_at_once() {
    let names = DockerNames::spawn(
        DockerSocket::Path("/nonexistent/docker.sock".into()),
        AllowedLabels::default(),
    );
    names.want("aaa");
    names.settled(SOON).await;
    let missing = "no Docker socket at /nonexistent/docker.sock".to_owned();
    assert_eq!(names.status(), Status::Failed(missing));
}

#[tokio::test]
async fn a_daemon_that_hangs_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let names = DockerNames::spawn(DockerSocket::Path(socket.clone()), AllowedLabels::default());
    names.settled(SOON).await;
    let reason = format!("{}: Timeout error", socket.display());
    assert_eq!(names.status(), Status::Failed(reason));
}

#[tokio::test]
async fn off_asks_nobody() {
    let names = DockerNames::spawn(DockerSocket::Off, AllowedLabels::default());
    names.want("aaa");
    names.settled(SOON).await;
    assert_eq!((names.status(), names.lookup("aaa")), (Status::Off, None));
}

#[test]
fn the_environment_names_the_socket() {
    assert_eq!(candidates(Some("unix:///tmp/d.sock")), [PathBuf::from("/tmp/d.sock")]);
    assert_eq!(candidates(Some("tcp://10.0.0.1:2375")), DEFAULT_SOCKETS.map(PathBuf::from));
    assert_eq!(candidates(None), DEFAULT_SOCKETS.map(PathBuf::from));
}

#[test]
fn never_started_is_no_time() {
    assert_eq!(started("0001-01-01T00:00:00Z"), None);
    assert_eq!(started("nonsense"), None);
    assert!(started("2026-01-16T13:55:22Z").is_some());
}
