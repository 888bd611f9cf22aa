//! The Debian package.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    cmd,
    dist::{Arch, VERSION, copy, empty, write},
};

/// Files of the archive, where the package installs them, and their modes.
const FILES: [(&str, &str); 12] = [
    ("tare", "usr/bin/tare"),
    ("systemd/tare.service", "usr/lib/systemd/system/tare.service"),
    ("systemd/tare.sysusers.conf", "usr/lib/sysusers.d/tare.conf"),
    ("completions/tare.bash", "usr/share/bash-completion/completions/tare"),
    ("completions/_tare", "usr/share/zsh/vendor-completions/_tare"),
    ("completions/tare.fish", "usr/share/fish/vendor_completions.d/tare.fish"),
    ("README.md", "usr/share/doc/tare/README.md"),
    ("CHANGELOG.md", "usr/share/doc/tare/changelog"),
    ("LICENSE-APACHE", "usr/share/doc/tare/LICENSE-APACHE"),
    ("LICENSE-MIT", "usr/share/doc/tare/LICENSE-MIT"),
    ("LICENSES-THIRD-PARTY.txt", "usr/share/doc/tare/LICENSES-THIRD-PARTY.txt"),
    ("tare.cdx.json", "usr/share/doc/tare/tare.cdx.json"),
];

/// Compressed in the package, as Debian wants it.
const COMPRESSED: [&str; 2] =
    ["usr/share/doc/tare/changelog", "usr/share/doc/tare/LICENSES-THIRD-PARTY.txt"];

const COPYRIGHT: &str =
    "Tare is free software under the Apache License 2.0 or the MIT License, at your choice:
LICENSE-APACHE and LICENSE-MIT in this directory. The crates that it contains, and their licences,
are in LICENSES-THIRD-PARTY.txt.gz.
";

/// Enables and starts the service, as Debian's packages do: not if the administrator has disabled
/// it, and again after an upgrade.
const POSTINST: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers tare.conf
    deb-systemd-helper unmask tare.service >/dev/null
    if deb-systemd-helper --quiet was-enabled tare.service; then
        deb-systemd-helper enable tare.service >/dev/null
    else
        deb-systemd-helper update-state tare.service >/dev/null
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        if [ -n "$2" ]; then
            deb-systemd-invoke restart tare.service
        else
            deb-systemd-invoke start tare.service
        fi
    fi
fi
"#;

const PRERM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop tare.service
fi
"#;

const POSTRM: &str = r#"#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = remove ]; then
    deb-systemd-helper mask tare.service >/dev/null
fi
if [ "$1" = purge ]; then
    deb-systemd-helper purge tare.service >/dev/null
    deb-systemd-helper unmask tare.service >/dev/null
    rm -rf /etc/default/tare /var/lib/tare
    if getent group tare >/dev/null; then
        groupdel tare
    fi
fi
"#;

/// Packs the files of an archive and returns the name of the package.
pub(super) fn pack(arch: Arch, content: &Path, dist: &Path) -> Result<String> {
    let root = empty(&dist.join(format!("deb-{}", arch.debian())))?;
    for (from, to) in FILES {
        let to = root.join(to);
        let directory = to.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory).with_context(|| format!("cannot make {directory:?}"))?;
        copy(&content.join(from), &to)?;
    }
    write(&root.join("usr/share/doc/tare/copyright"), COPYRIGHT)?;
    let manuals = root.join("usr/share/man/man1");
    fs::create_dir_all(&manuals).with_context(|| format!("cannot make {manuals:?}"))?;
    for manual in fs::read_dir(content.join("man/man1"))? {
        let manual = manual?;
        copy(&manual.path(), &manuals.join(manual.file_name()))?;
        compress(&manuals.join(manual.file_name()))?;
    }
    for file in COMPRESSED {
        compress(&root.join(file))?;
    }
    let control = root.join("DEBIAN");
    fs::create_dir(&control).with_context(|| format!("cannot make {control:?}"))?;
    write(&control.join("control"), &description(arch, kibibytes(&root)?))?;
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
        write(&control.join(name), script)?;
    }
    set_modes(&root)?;
    let package = name(arch);
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(dist.join(&package));
    // The times of all files in the package.
    cmd::run(build.env("SOURCE_DATE_EPOCH", "0"))?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {root:?}"))?;
    Ok(package)
}

/// The file name of the package.
pub(super) fn name(arch: Arch) -> String {
    format!("tare_{VERSION}_{}.deb", arch.debian())
}

fn description(arch: Arch, installed_kibibytes: u64) -> String {
    format!(
        "Package: tare
Version: {VERSION}
Architecture: {}
Maintainer: The Tare developers <tare@localhost>
Installed-Size: {installed_kibibytes}
Depends: systemd
Section: admin
Priority: optional
Description: resource usage of every container
 Shows what every container on this host uses: CPU, memory, network and block
 I/O. Small eBPF programs count network and block I/O in the kernel.
 .
 Installing the package starts the service: metrics on 127.0.0.1:9753.
",
        arch.debian()
    )
}

fn kibibytes(root: &Path) -> Result<u64> {
    let said = cmd::capture(Command::new("du").args(["--apparent-size", "-sk"]).arg(root))?;
    let size = said.split_whitespace().next().context("du prints nothing")?;
    size.parse().with_context(|| format!("du prints {said:?}"))
}

fn compress(file: &Path) -> Result<()> {
    cmd::run(Command::new("gzip").args(["--no-name", "-9"]).arg(file))
}

/// Modes that do not depend on the builder's umask, and times before `SOURCE_DATE_EPOCH`, which
/// `dpkg-deb` only lowers.
fn set_modes(root: &Path) -> Result<()> {
    cmd::run(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(root))?;
    let scripts = ["DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm", "usr/bin/tare"];
    cmd::run(Command::new("chmod").arg("755").args(scripts.map(|script| root.join(script))))
}
