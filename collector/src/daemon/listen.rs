//! Where the server listens.

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

use crate::{cli::run::DEFAULT_SOCKET, identity::Socket};

/// Owner and group may use the socket: who may connect may read everything.
const SOCKET_MODE: u32 = 0o660;

/// Bound sockets. The unix socket's file goes when this is dropped.
pub(super) struct Listeners {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) unix: Option<UnixListener>,
    path: Option<PathBuf>,
}

impl Listeners {
    /// Binds all of them.
    pub(super) fn bind(addresses: &[SocketAddr], socket: &Socket) -> Result<Self> {
        let tcp = addresses.iter().map(bind_tcp).collect::<Result<_>>()?;
        let (path, unix) = match socket {
            Socket::Off => (None, None),
            Socket::Path(path) => (Some(path.as_path()), Some(bind_unix(path)?)),
            Socket::Auto => {
                // Who did not ask for a socket has one where that is possible.
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
            // Whoever took it away already did what is wanted.
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
    clear_the_way(path)?;
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

/// Removes the socket of one who was killed; never anything else.
fn clear_the_way(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        bail!("{} is there already, and is no socket", path.display());
    }
    if UnixStream::connect(path).is_ok() {
        bail!("somebody listens on {} already", path.display());
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
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
    fn a_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(Listeners::bind(&[], &Socket::Path(path.clone())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }
}
