//! The server with a face of its own, asked over its unix socket and over TCP.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
};

use clap::Parser;
use hyper::StatusCode;

use super::{
    answer::{Answer, text},
    *,
};
use crate::{
    cli::Cli,
    config::{Command, Config, Run},
    identity::Socket,
    published::ProcessSource,
};

/// Says what it was asked.
struct Echo;

impl Face for Echo {
    const ROUTES: &'static [Route<Self>] = &[
        Route::get("/echo/{name}", Self::name, "the name"),
        Route { needs_key: false, ..Route::get("/open", Self::open, "without a key") },
        Route {
            methods: &["POST"],
            body_bytes_max: 8,
            ..Route::get("/echo/{name}", Self::body, "the body")
        },
    ];
}

impl Echo {
    fn name(&self, request: Request) -> Answer {
        let query = request.query("q").unwrap_or_default();
        text(StatusCode::OK, format!("{:?} {query}", request.param("name")))
    }

    fn body(&self, request: Request) -> Answer {
        text(StatusCode::OK, request.body)
    }

    fn open(&self, _: Request) -> Answer {
        text(StatusCode::OK, "open")
    }
}

/// A running server; stopped on drop.
struct Running {
    server: Option<Server>,
    address: std::net::SocketAddr,
    directory: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("tokens"), "sesame\n").unwrap();
        let tokens = path("tokens").display().to_string();
        let cli =
            Cli::try_parse_from(["tare", "run", "--token-file", &tokens, "--allow-host", "tare.*"])
                .unwrap();
        let Command::Run(run) = Config::from(cli).command else { unreachable!() };
        let run: Run = *run;
        let address = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::bind(&[address], &Socket::Path(path("socket"))).unwrap();
        let address = listeners.tcp[0].1.local_addr().unwrap();
        let shared = Arc::new(SharedState::new(&run, ProcessSource::default()));
        let config = watch::Sender::new(Arc::new(LiveConfig::load(run).unwrap()));
        let router = |_: &Rc<Context>| Router::default().with(Echo).finish();
        let server = Server::spawn(listeners, shared, config.subscribe(), router).unwrap();
        Self { server: Some(server), address, directory }
    }

    fn unix(&self, request: &str) -> (u16, String) {
        let path: &Path = &self.directory.path().join("socket");
        ask(UnixStream::connect(path).unwrap(), request)
    }

    fn tcp(&self, request: &str) -> (u16, String) {
        ask(TcpStream::connect(self.address).unwrap(), request)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.take().unwrap().stop();
    }
}

/// The status and the body of the answer to a request, whose head gets its last lines here.
fn ask(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    let (head, body) = request.split_once('\n').unwrap_or((request, ""));
    let length = body.len();
    let head = head.replace('|', "\r\n");
    let host = if head.contains("\r\nHost:") { "" } else { "\r\nHost: localhost" };
    let head = format!("{head}{host}\r\nConnection: close\r\nContent-Length: {length}");
    // In one piece: the server may answer and close once it has the head.
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_request_reaches_the_handler_of_its_route() {
    let server = Running::start();
    let answer = |status: u16, body: &str| (status, body.to_owned());
    assert_eq!(server.unix("GET /echo/a%20b?q=%2F HTTP/1.1"), answer(200, "Some(\"a b\") /"));
    assert_eq!(server.unix("GET /echo/%ff HTTP/1.1"), answer(200, "None "));
    assert_eq!(server.unix("HEAD /echo/a HTTP/1.1"), answer(200, ""));
    assert_eq!(server.unix("POST /echo/a HTTP/1.1\n12345678"), answer(200, "12345678"));
    let (status, index) = server.unix("GET / HTTP/1.1");
    assert_eq!(status, 200);
    assert!(index.contains("/echo/{name}  the name\n"), "{index}");
}

#[test]
fn what_no_route_takes_is_refused() {
    let server = Running::start();
    for (request, status) in [
        ("GET /nothing HTTP/1.1", 404),
        ("BREW /nothing HTTP/1.1", 405),
        ("PUT /echo/a HTTP/1.1", 405),
        ("POST /open HTTP/1.1\nx", 405),
        ("GET /echo/a HTTP/1.1\nx", 413),
        ("POST /echo/a HTTP/1.1\n123456789", 413),
    ] {
        assert_eq!(server.unix(request).0, status, "{request}");
    }
}

#[test]
fn over_tcp_a_key_is_needed_unless_the_route_says_otherwise() {
    let server = Running::start();
    for (request, status) in [
        ("GET /echo/a HTTP/1.1", 401),
        ("GET /nothing HTTP/1.1", 401),
        ("GET /echo/a HTTP/1.1|Authorization: Bearer sesame", 200),
        ("GET /echo/a HTTP/1.1|Authorization: Bearer other", 401),
        ("GET /open HTTP/1.1", 200),
    ] {
        assert_eq!(server.tcp(request).0, status, "{request}");
    }
}

#[test]
fn over_tcp_only_names_of_this_server_are_answered() {
    let server = Running::start();
    for (host, status) in [("127.0.0.1:1", 200), ("evil.example", 421), ("tare.example", 200)] {
        let request = format!("GET /open HTTP/1.1|Host: {host}");
        assert_eq!(server.tcp(&request).0, status, "{host}");
        assert_eq!(server.unix(&request).0, 200, "{host}");
    }
}

#[test]
fn routes_that_contradict_each_other_are_an_error() {
    let twice = Router::default().with(Echo).with(Other).finish();
    assert!(twice.is_err());
}

/// A face whose route takes the same paths as one of [`Echo`].
struct Other;

impl Face for Other {
    const ROUTES: &'static [Route<Self>] =
        &[Route::get("/echo/{other}", |_, _| text(StatusCode::OK, ""), "another")];
}
