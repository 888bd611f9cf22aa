//! What a live test starts from: root, Docker, the test image, a disk and `tare`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::geteuid;

use crate::{
    binaries,
    docker::{Container, Docker, Gate, Image, Run},
    docker_api::{DockerStats, docker_stats},
    scratch::Scratch,
    tare::Tare,
};

/// Everything that a live test needs. If something is missing, that is an error: tests are never
/// skipped.
#[derive(Debug)]
pub struct Lab {
    /// `tare` with the options that make it see the lab's containers.
    pub tare: Tare,
    /// The daemon that runs the containers.
    pub docker: Docker,
    /// The image that all its containers run.
    pub image: Image,
    /// A directory on a disk.
    pub scratch: Scratch,
    /// Tests measure the machine, so one runs at a time.
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Opens the lab; waits until other tests have closed it.
    pub fn open() -> Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(geteuid().is_root(), "the live tests need root");
        let tare = binaries::tare()?;
        let load = binaries::load()?;
        let scratch = Scratch::new()?;
        let docker = Docker::connect()?;
        let image = Image::import(&docker, &load, &scratch).context("make the test image")?;
        let tare = Tare::at(tare).with_docker(&docker);
        Ok(Self { tare, docker, image, scratch, _turn: turn })
    }

    /// A closed gate for loads to wait at.
    pub fn gate(&self) -> Result<Gate> {
        Gate::new(&self.scratch)
    }

    /// Starts a container.
    pub fn start(&self, run: Run) -> Result<Container> {
        run.start(&self.image)
    }

    /// The reference of the image that all its containers run.
    #[must_use]
    pub fn image(&self) -> &str {
        self.image.name()
    }

    /// Docker's own statistics of a container.
    pub fn docker_stats(&self, container: &Container) -> Result<DockerStats> {
        docker_stats(&self.docker, container)
    }
}
