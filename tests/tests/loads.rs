//! The loads do what they report: all measurements depend on that.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tare_tests::{
    process::{Finished, Process, run},
    scratch::Scratch,
};

const LIMIT: Duration = Duration::from_secs(30);

fn load(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tare-load"));
    command.args(args.split_whitespace());
    command
}

fn outcome(done: &Finished) -> Result<Value> {
    ensure!(done.status.success(), "{done:?}");
    let line = done.stdout.lines().last().context("it printed nothing")?;
    serde_json::from_str(line).with_context(|| line.to_owned())
}

#[test]
fn files_are_written_and_read_to_the_byte() -> Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.path().join("file");
    let path = file.to_str().context("path")?;
    for mode in ["direct", "buffered --fsync", "sync"] {
        let args = format!("write --bytes 3MiB --block 512KiB --path {path} --mode {mode}");
        let done = outcome(&run(load(&args), LIMIT)?)?;
        ensure!(done["bytes"] == 3 << 20 && done["calls"] == 6, "{mode}: {done}");
        ensure!(std::fs::metadata(path)?.len() == 3 << 20, "{mode}");
    }
    for mode in ["direct", "buffered"] {
        let args = format!("read --bytes 2MiB --path {path} --mode {mode}");
        let done = outcome(&run(load(&args), LIMIT)?)?;
        ensure!(done["bytes"] == 2 << 20 && done["calls"] == 2, "{mode}: {done}");
    }
    let short = run(load(&format!("read --bytes 4MiB --path {path}")), LIMIT)?;
    ensure!(short.status.code() == Some(1) && short.stderr.contains("too early"), "{short:?}");
    let odd = run(load(&format!("write --bytes 1000 --path {path}")), LIMIT)?;
    ensure!(odd.status.code() == Some(1) && odd.stdout.is_empty(), "{odd:?}");
    Ok(())
}

/// A port that was free a moment ago.
fn free_address(host: &str) -> Result<String> {
    let port = std::net::TcpListener::bind((host, 0))?.local_addr()?.port();
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// The reports of listener and sender of one transfer.
fn transfer(host: &str, listen: &str, send: &str) -> Result<(Value, Value)> {
    let addr = free_address(host)?;
    let mut listener = Process::spawn(load(&format!("listen --addr {addr} {listen}")))?;
    ensure!(listener.next_line(LIMIT)? == "ready", "the listener does not get ready");
    let sent = outcome(&run(load(&format!("send --addr {addr} {send}")), LIMIT)?)?;
    Ok((outcome(&listener.finish(LIMIT)?)?, sent))
}

#[test]
fn streams_arrive_to_the_byte_by_every_system_call() -> Result<()> {
    for host in ["127.0.0.1", "::1"] {
        for how in ["write", "writev", "sendfile", "splice", "sendto"] {
            let send = format!("--proto tcp --bytes 1000003 --how {how} --chunk 7000");
            let (received, sent) = transfer(host, "--proto tcp --bytes 1000003", &send)?;
            ensure!(received["bytes"] == 1_000_003, "{how}: {received}");
            ensure!(sent["bytes"] == 1_000_003, "{how}: {sent}");
            ensure!(sent["calls"].as_u64() >= Some(143), "{how}: {sent}");
        }
    }
    Ok(())
}

#[test]
fn datagrams_arrive_to_the_byte() -> Result<()> {
    for host in ["127.0.0.1", "::1"] {
        for how in ["write", "writev", "sendto"] {
            let send = format!("--proto udp --bytes 200001 --how {how}");
            let (received, sent) = transfer(host, "--proto udp --bytes 200001", &send)?;
            ensure!(received["bytes"] == 200_001 && received["calls"] == 201, "{how}: {received}");
            ensure!(sent["bytes"] == 200_001 && sent["calls"] == 201, "{how}: {sent}");
        }
    }
    let listen = "--proto udp --bytes 4000 --chunk 400";
    let (received, _) = transfer("127.0.0.1", listen, "--proto udp --bytes 10000")?;
    ensure!(received["bytes"] == 4000 && received["calls"] == 10, "{received}");
    Ok(())
}

#[test]
fn peeked_bytes_are_reported_separately() -> Result<()> {
    // Data may arrive between a peek and the read after it.
    for (proto, peeked_min) in [("tcp", 1), ("udp", 50_000)] {
        let listen = format!("--proto {proto} --bytes 50000 --peek");
        let send = format!("--proto {proto} --bytes 50000");
        let (received, _) = transfer("127.0.0.1", &listen, &send)?;
        ensure!(received["bytes"] == 50_000, "{proto}: {received}");
        ensure!(received["peeked_bytes"].as_u64() >= Some(peeked_min), "{proto}: {received}");
    }
    Ok(())
}

#[test]
fn a_listener_fails_if_the_sum_differs() -> Result<()> {
    let short = transfer("127.0.0.1", "--proto tcp --bytes 1000", "--proto tcp --bytes 999");
    let error = format!("{:#}", short.err().context("999 of 1000 bytes passed")?);
    ensure!(error.contains("999 bytes instead of 1000"), "{error}");
    Ok(())
}

#[test]
fn pairs_send_to_themselves() -> Result<()> {
    for over in ["--unix", "--tcp 127.0.0.1:0", "--tcp [::1]:0", "--udp [::1]:0"] {
        let done = outcome(&run(load(&format!("pair {over} --bytes 123456")), LIMIT)?)?;
        ensure!(done["bytes"] == 123_456 && done["received_bytes"] == 123_456, "{over}: {done}");
    }
    Ok(())
}

#[test]
fn compute_loads_use_what_they_report() -> Result<()> {
    let done = outcome(&run(load("spin --for 300ms --threads 2"), LIMIT)?)?;
    // Two threads on at least one CPU.
    ensure!(done["cpu_seconds"].as_f64().is_some_and(|s| (0.05..0.9).contains(&s)), "{done}");
    let done = run(load("allocate --bytes 8MiB --for 10ms"), LIMIT)?;
    ensure!(done.stdout.starts_with("ready\n") && outcome(&done)?["bytes"] == 8 << 20, "{done:?}");
    let done = outcome(&run(load("sleep --for 10ms"), LIMIT)?)?;
    ensure!(done["load"] == "sleep", "{done}");
    Ok(())
}

#[test]
fn loads_wait_for_their_gate_and_end_on_sigterm() -> Result<()> {
    let scratch = Scratch::new()?;
    let gate = scratch.path().join("open");
    let args = format!("--start-when {} --linger sleep --for 0ms", gate.display());
    let mut waiting = Process::spawn(load(&args))?;
    ensure!(waiting.next_line(Duration::from_millis(200)).is_err(), "it did not wait");
    std::fs::write(&gate, "")?;
    waiting.next_line(LIMIT)?;
    // It prints the line shortly before it waits for the signal.
    std::thread::sleep(Duration::from_millis(100));
    waiting.signal(Signal::SIGTERM)?;
    ensure!(waiting.finish(LIMIT)?.status.code() == Some(0), "done, then ended");

    let mut serving = Process::spawn(load("serve"))?;
    ensure!(serving.next_line(LIMIT)? == "ready", "serve says that it is ready");
    std::thread::sleep(Duration::from_millis(100));
    serving.signal(Signal::SIGTERM)?;
    ensure!(serving.finish(LIMIT)?.status.code() == Some(0), "serve ends well");

    let mut cut = Process::spawn(load("spin --for 60s"))?;
    cut.next_line(LIMIT)?;
    cut.signal(Signal::SIGTERM)?;
    ensure!(cut.finish(LIMIT)?.status.code() == Some(143), "cut short");
    Ok(())
}
