//! Docker's client over TCP with certificates of its own, as `DOCKER_TLS_VERIFY` asks for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use tare_tests::{
    docker::Run,
    lab::Lab,
    process::{output, run},
    tare_daemon::TareDaemon,
    tcp::free_address,
    wait::{self, PATIENCE},
};

/// Whom certificates are for: this machine, and a host that only a proxy can reach.
const NAMES: &str = "IP:127.0.0.1,DNS:behind.test";

/// Keys and certificates of an authority, a server and a client, by the names that Docker's client
/// looks for.
pub(crate) struct Certificates(PathBuf);

impl Certificates {
    pub(crate) fn make(directory: PathBuf) -> Result<Self> {
        let certificates = Self(directory);
        let path = |name: &str| certificates.path(name);
        let authority = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let files = ["-keyout", &path("ca-key.pem"), "-out", &path("ca.pem")];
        openssl(&[&authority[..], &["-subj", "/CN=authority"], &files].concat())?;
        certificates.sign("server", "server-cert.pem", "server-key.pem", "serverAuth")?;
        certificates.sign("client", "cert.pem", "key.pem", "clientAuth")?;
        Ok(certificates)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn sign(&self, name: &str, certificate: &str, key: &str, usage: &str) -> Result<()> {
        let (request, extensions) = (self.path("request.pem"), self.path("extensions"));
        fs::write(&extensions, format!("subjectAltName={NAMES}\nextendedKeyUsage={usage}\n"))?;
        let subject = format!("/CN={name}");
        let asked = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject];
        openssl(&[&asked[..], &["-keyout", &self.path(key), "-out", &request]].concat())?;
        let signed = ["x509", "-req", "-days", "2", "-in", &request, "-extfile", &extensions];
        let authority = ["-CA", &self.path("ca.pem"), "-CAkey", &self.path("ca-key.pem")];
        let out = ["-CAcreateserial", "-out", &self.path(certificate)];
        openssl(&[&signed[..], &authority, &out].concat())
    }
}

fn openssl(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(arguments);
    output(command, PATIENCE).map(drop)
}

/// `docker ps` over TCP with the certificates in a directory, if there are any.
fn docker_ps(address: &str, certificates: Option<&Path>) -> Command {
    let mut docker = Command::new("docker");
    docker.env_remove("DOCKER_CONTEXT").env("DOCKER_HOST", format!("tcp://{address}"));
    if let Some(directory) = certificates {
        docker.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", directory);
    }
    docker.args(["ps", "--format", "{{.Names}}"]);
    docker
}

#[test]
fn clients_over_tcp_need_a_certificate_of_the_authority() -> Result<()> {
    let lab = Lab::open()?;
    let good = Certificates::make(lab.scratch.subdirectory()?)?;
    let container = lab.start(Run::load("serve"))?;
    let (address, tokens) = (free_address()?, good.path("tokens"));
    fs::write(&tokens, "sesame\n")?;
    let daemon = TareDaemon::start(
        &lab.tare,
        &[
            "--docker-api-listen",
            &address,
            "--docker-api-tls-client-ca",
            &good.path("ca.pem"),
            "--tls-cert",
            &good.path("server-cert.pem"),
            "--tls-key",
            &good.path("server-key.pem"),
            "--token-file",
            &tokens,
        ],
    )?;
    wait::until("the container in `docker ps`", PATIENCE, || {
        let names = output(docker_ps(&address, Some(&good.0)), PATIENCE)?;
        Ok((names == container.name()).then_some(()))
    })?;
    // Of another authority, but trusting the server's.
    let other = Certificates::make(lab.scratch.subdirectory()?)?;
    fs::copy(good.path("ca.pem"), other.path("ca.pem"))?;
    for (what, certificates) in [("plain text", None), ("another authority", Some(&*other.0))] {
        let finished = run(docker_ps(&address, certificates), PATIENCE)?;
        ensure!(!finished.status.success() && finished.stdout.is_empty(), "{what}: {finished:?}");
    }
    ensure!(daemon.get("/readyz")?.status == 200, "it has ended");
    Ok(())
}
