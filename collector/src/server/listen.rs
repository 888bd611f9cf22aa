//! The sockets that the server listens on.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::unistd::Group;

use crate::{
    config::{DEFAULT_SOCKET, DockerApi},
    identity::Socket,
    server::face::ListenerGroup,
};

/// Owner and group may connect. A client that can connect can read everything.
const SOCKET_MODE: u32 = 0o660;

/// Bound sockets. The files of unix sockets are removed when this is dropped.
pub(crate) struct Listeners {
    pub(super) tcp: Vec<(ListenerGroup, TcpListener)>,
    pub(super) unix: Vec<(ListenerGroup, UnixListener)>,
    paths: Vec<PathBuf>,
}

impl Listeners {
    /// Binds the main sockets.
    ///
    /// # Errors
    ///
    /// If one cannot be bound, except for the default unix socket.
    pub(crate) fn bind(addresses: &[SocketAddr], socket: &Socket) -> Result<Self> {
        let mut listeners = Self { tcp: Vec::new(), unix: Vec::new(), paths: Vec::new() };
        listeners.add_tcp(ListenerGroup::Main, addresses)?;
        match socket {
            Socket::Off => {}
            Socket::Path(path) => listeners.add_unix(ListenerGroup::Main, path)?,
            Socket::Auto => {
                // The default socket is not required.
                let added = listeners.add_unix(ListenerGroup::Main, Path::new(DEFAULT_SOCKET));
                added.unwrap_or_else(|error| tracing::warn!("{error:#}"));
            }
        }
        Ok(listeners)
    }

    /// Binds the sockets for Docker clients as well.
    ///
    /// # Errors
    ///
    /// If one cannot be bound, or there is no such group.
    pub(crate) fn with_docker(mut self, api: &DockerApi) -> Result<Self> {
        self.add_tcp(ListenerGroup::Docker, &api.listen)?;
        if let Some(path) = &api.socket {
            let group = api.group.as_deref().map(group_id).transpose()?;
            self.add_unix(ListenerGroup::Docker, path)?;
            chown(path, None, group)
                .with_context(|| format!("cannot change the group of {}", path.display()))?;
        }
        Ok(self)
    }

    fn add_tcp(&mut self, group: ListenerGroup, addresses: &[SocketAddr]) -> Result<()> {
        for address in addresses {
            self.tcp.push((group, bind_tcp(address)?));
        }
        Ok(())
    }

    fn add_unix(&mut self, group: ListenerGroup, path: &Path) -> Result<()> {
        self.unix.push((group, bind_unix(path)?));
        self.paths.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for path in &self.paths {
            // It may have been removed already.
            let _ = fs::remove_file(path);
        }
    }
}

/// The number of a group, by its name or number.
fn group_id(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(name).with_context(|| format!("the group {name}"))?;
    Ok(group.with_context(|| format!("there is no group {name}"))?.gid.as_raw())
}

fn bind_tcp(address: &SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, io::Error>((listener.local_addr()?, listener))
    };
    let (bound, listener) = bind().with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!("listening on {bound}");
    Ok(listener)
}

fn bind_unix(path: &Path) -> Result<UnixListener> {
    remove_stale_socket(path)?;
    let bind = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
        listener.set_nonblocking(true)?;
        Ok::<_, io::Error>(listener)
    };
    let listener = bind().with_context(|| format!("cannot listen on {}", path.display()))?;
    tracing::info!("listening on {}", path.display());
    Ok(listener)
}

/// Removes the socket that a killed process left behind, and nothing else.
fn remove_stale_socket(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        bail!("{} exists already and is no socket", path.display());
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another process listens on {} already", path.display());
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/tare.sock");
        let socket = Socket::Path(path.clone());
        let first = Listeners::bind(&[], &socket).unwrap();
        let error = Listeners::bind(&[], &socket).err().unwrap().to_string();
        assert!(error.contains("already"), "{error}");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        drop(first);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        drop(Listeners::bind(&[], &socket).unwrap());
    }

    #[test]
    fn the_socket_for_docker_clients_belongs_to_a_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let api = |group: &str| DockerApi {
            socket: Some(path.clone()),
            group: Some(group.to_owned()),
            ..DockerApi::default()
        };
        let bind = |group| Listeners::bind(&[], &Socket::Off).unwrap().with_docker(&api(group));
        let error = bind("no such group").err().unwrap().to_string();
        assert!(error.contains("no such group"), "{error}");
        assert!(!path.exists());
        // The own group can be set without privileges.
        let own = nix::unistd::getegid().to_string();
        let listeners = bind(&own).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, SOCKET_MODE);
        assert_eq!(std::os::unix::fs::MetadataExt::gid(&metadata).to_string(), own);
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_at_the_path_of_the_socket_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(Listeners::bind(&[], &Socket::Path(path.clone())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }
}
