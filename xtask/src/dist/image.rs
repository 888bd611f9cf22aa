//! The container image: `deploy/Dockerfile` with a static binary, built without a registry.

use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cmd,
    dist::{Arch, VERSION, copy, directory, empty},
    docker::{self, Docker},
    docker_client, project,
};

/// The most that the binary in the image may take. The image holds nothing else.
const BYTES_MAX: u64 = 11 << 20;

/// Builds the image with a Docker daemon and returns its reference.
pub(crate) fn build(docker: &Docker, arch: Arch) -> Result<String> {
    let context = empty(&directory().join(format!("image-{}", arch.debian())))?;
    let binary = super::binary(arch)?;
    let bytes = fs::metadata(&binary).with_context(|| format!("cannot read {binary:?}"))?.len();
    ensure!(bytes <= BYTES_MAX, "the binary takes {bytes} bytes, more than {BYTES_MAX}");
    copy(&binary, &context.join("tare"))?;
    copy(&project::root().join("deploy/Dockerfile"), &context.join("Dockerfile"))?;
    let reference = format!("tare:{VERSION}");
    let mut build = docker_client::client(&docker.host, &["build", "--quiet", "--network", "none"]);
    if Arch::host() != Some(arch) {
        build.args(["--platform", &format!("linux/{}", arch.debian())]);
    }
    build.args(["--build-arg", &format!("VERSION={VERSION}"), "--tag", &reference]);
    cmd::run(build.arg(&context).env("DOCKER_BUILDKIT", "0"))?;
    Ok(reference)
}

/// Builds the image with the daemon of `DOCKER_HOST`, or one that ends with this program. `output`
/// saves it to a file, for `docker load` and `ctr image import`.
pub(crate) fn run(arch: Arch, output: Option<&str>) -> Result<String> {
    let docker = docker::daemon()?;
    let reference = build(&docker, arch)?;
    if let Some(output) = output {
        let output = env::current_dir()?.join(output);
        let mut save = docker_client::client(&docker.host, &["image", "save", "--output"]);
        cmd::run(save.arg(output).arg(&reference))?;
    }
    Ok(reference)
}
