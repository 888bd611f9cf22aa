//! `tare health`: whether the daemon of this host has a fresh sample. For health checks in images
//! that hold nothing but `tare`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the daemon on this socket.
///
/// # Errors
///
/// If it does not answer, or if its last sample is not fresh.
pub fn check(socket: &Path) -> Result<()> {
    let asking = || format!("cannot ask the daemon at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(asking)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: tare\r\nConnection: close\r\n\r\n";
    stream.write_all(request).with_context(asking)?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().context("the daemon sent no answer")?.with_context(asking)?;
    if status.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let mut body = lines.skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
    ensure!(status.starts_with("HTTP/1.1 "), "{} does not speak HTTP", socket.display());
    match body.nth(1) {
        Some(Ok(reason)) => bail!("the daemon is not ready: {reason}"),
        _ => bail!("the daemon is not ready: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::net::UnixListener, thread};

    use super::*;

    /// What `check` says about a daemon with this answer.
    fn about(answer: &'static str) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("tare.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let result = check(&socket).map_err(|error| format!("{error:#}"));
        server.join().unwrap();
        result
    }

    #[test]
    fn a_daemon_is_healthy_if_it_says_so() {
        assert_eq!(about("HTTP/1.1 200 OK\r\n\r\nok\n"), Ok(()));
        let overdue = "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nsamples are overdue\n";
        assert!(about(overdue).unwrap_err().ends_with("not ready: samples are overdue"));
        assert!(about("HTTP/1.1 404 Not Found\r\n").unwrap_err().contains("404"));
        assert!(about("SSH-2.0\r\n").unwrap_err().ends_with("does not speak HTTP"));
        assert!(about("").unwrap_err().ends_with("sent no answer"));
    }

    #[test]
    fn without_a_daemon_the_socket_is_named() {
        let error = check(Path::new("/nonexistent/tare.sock")).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/tare.sock: No such file"), "{error:#}");
    }
}
