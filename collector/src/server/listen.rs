//! The sockets that the server listens on.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{config::DEFAULT_SOCKET, identity::Socket};

/// Owner and group may connect. A client that can connect can read everything.
const SOCKET_MODE: u32 = 0o660;

/// Bound sockets. The unix socket's file is removed when this is dropped.
pub(crate) struct Listeners {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) unix: Option<UnixListener>,
    path: Option<PathBuf>,
}

impl Listeners {
    /// Binds all sockets.
    ///
    /// # Errors
    ///
    /// If one cannot be bound, except for the default unix socket.
    pub(crate) fn bind(addresses: &[SocketAddr], socket: &Socket) -> Result<Self> {
        let tcp = addresses.iter().map(bind_tcp).collect::<Result<_>>()?;
        let (path, unix) = match socket {
            Socket::Off => (None, None),
            Socket::Path(path) => (Some(path.as_path()), Some(bind_unix(path)?)),
            Socket::Auto => {
                // The default socket is not required.
                let path = Path::new(DEFAULT_SOCKET);
                let unix = bind_unix(path).inspect_err(|error| tracing::warn!("{error:#}")).ok();
                (unix.is_some().then_some(path), unix)
            }
        };
        Ok(Self { tcp, unix, path: path.map(Path::to_owned) })
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It may have been removed already.
            let _ = fs::remove_file(path);
        }
    }
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
    fn a_file_at_the_path_of_the_socket_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(Listeners::bind(&[], &Socket::Path(path.clone())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }
}
