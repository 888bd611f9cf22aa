use tare_model::{Container, Level, Sockets, Source};

use super::*;
use crate::output::fixture;

fn text(report: &Report, options: Options) -> String {
    render(report, &options).lines(None).join("\n")
}

fn sized(kind: Kind, id: &str, bytes: u64) -> Container {
    let mut row = fixture::unknown(kind, id);
    row.memory.working_set_bytes = Some(bytes);
    row
}

/// The first cell of each row.
fn firsts(listing: &Listing) -> Vec<&str> {
    let rows = listing.tables.iter().flat_map(|table| &table.rows);
    rows.filter_map(|row| row.split_whitespace().next()).collect()
}

#[test]
fn like_docker_stats() {
    let mut report =
        fixture::report(vec![fixture::web(), fixture::unknown(Kind::Container, "deb")]);
    let on = Source::on("cgroup v2");
    let reason = Some("no BTF at /sys/kernel/btf/vmlinux\x1b[2J".to_owned());
    report.sources.insert(Family::Block, Source { reason, ..Source::off("") });
    report.sources.insert(Family::NetworkSockets, Source { state: State::Degraded, ..on.clone() });
    report.sources.insert(Family::Cpu, on);
    let expected = "\
CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT     MEM %     NET I/O           BLOCK I/O    PIDS
deb            deb       --        -- / --               --        --                --           --
3f4e1b2a9c8d   web       12.35%    1.207MiB / 23.47GiB   0.01%     10.5MB / 1.03kB   0B / 4.1kB   3

network sockets: degraded
block: off — no BTF at /sys/kernel/btf/vmlinux\\u{1b}[2J";
    assert_eq!(text(&report, Options::default()), expected);
}

#[test]
fn full_ids_and_names_that_attack_the_terminal() {
    let mut bad = fixture::web();
    bad.name = Some("\x1b[31mred\n".to_owned());
    let listing =
        text(&fixture::report(vec![bad]), Options { no_trunc: true, ..Options::default() });
    assert!(listing.contains(&format!("{}   \\u{{1b}}[31mred\\n   ", fixture::ID)), "{listing}");
}

#[test]
fn a_container_on_the_host_network_shows_its_own_sockets() {
    let mut row = fixture::web();
    row.network.host_namespace = Some(true);
    row.network.sockets = None;
    let without = render(&fixture::report(vec![row.clone()]), &Options::default());
    assert!(without.tables[0].rows[0].contains("0.01%     --        0B / 4.1kB"));
    assert_eq!(without.notes.len(), 0);

    row.network.sockets = Some(Sockets {
        since: None,
        level: Level::Payload,
        rx_bytes: 1_000,
        tx_bytes: 2,
        tcp: None,
        udp: None,
        rx_packets: None,
        tx_packets: None,
        loopback: None,
    });
    let with = render(&fixture::report(vec![row]), &Options::default());
    assert!(with.tables[0].rows[0].contains("1kB / 2B*"));
    assert_eq!(with.notes, [HOST_SOCKETS]);
}

#[test]
fn sorted_biggest_first_and_the_unknown_last() {
    let mut rows = vec![fixture::unknown(Kind::Container, "a"), fixture::web()];
    for (id, cpu, memory) in [("b", 3.0, 30), ("c", 20.0, 10), ("d", 20.0, 10)] {
        let mut row = sized(Kind::Container, id, memory);
        row.cpu.percent = Some(cpu);
        row.pids.current = Some(memory);
        rows.push(row);
    }
    let report = fixture::report(rows);
    let sorted = |sort| {
        let listing = render(&report, &Options { sort, ..Options::default() });
        let cells = firsts(&listing).into_iter().map(|id| id.chars().next().unwrap());
        cells.collect::<String>()
    };
    // The container whose id starts with 3 is called web.
    assert_eq!(sorted(Sort::Name), "abcd3");
    assert_eq!(sorted(Sort::Cpu), "cd3ba");
    assert_eq!(sorted(Sort::Memory), "3bcda");
    assert_eq!(sorted(Sort::Pids), "bcd3a");
    assert_eq!(sorted(Sort::Network), "3abcd");
    assert_eq!(sorted(Sort::Block), "3abcd");
}

#[test]
fn services_where_there_are_no_containers() {
    let mut other = sized(Kind::Service, "ssh.service", 1);
    other.cgroup = "/user.slice/ssh.service".to_owned();
    let rows = vec![
        sized(Kind::Service, "ssh.service", 2),
        other,
        sized(Kind::Service, "cron.service", 2_048),
        sized(Kind::Other, "/system.slice", 9),
    ];
    let report = fixture::report(rows);
    let expected = "\
No containers here; showing 3 services.
SERVICE                   CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS
cron.service              --        2KiB / --           --        --        --          --
/ssh.service              --        2B / --             --        --        --          --
/user.slice/ssh.service   --        1B / --             --        --        --          --";
    assert_eq!(text(&report, Options::default()), expected);
    let all = render(&report, &Options { scope: Scope::All, ..Options::default() });
    assert_eq!(all.tables.len(), 2);
    let containers = fixture::report(vec![fixture::web()]);
    let options = Options { scope: Scope::Services, ..Options::default() };
    assert_eq!(text(&containers, options), "No services here.");
}

#[test]
fn the_biggest_cgroups_where_there_is_nothing_else() {
    let mut rows: Vec<_> =
        (0..30).map(|number| sized(Kind::Other, &format!("cg{number:02}"), number)).collect();
    rows.push(sized(Kind::Other, "too/deep/down/here", 1_000));
    let report = fixture::report(rows);
    let listing = render(&report, &Options::default());
    let table = &listing.tables[0];
    let intro = "No containers or services here; showing the biggest 20 cgroups.";
    assert_eq!(table.intro.as_deref(), Some(intro));
    assert_eq!(table.rows.len(), MAX_FALLBACK_CGROUPS);
    assert!(table.rows[0].starts_with("/cg29 ") && table.rows[19].starts_with("/cg10 "));

    let nothing = "No containers here, nor services or other cgroups.";
    assert_eq!(text(&fixture::report(Vec::new()), Options::default()), nothing);
}

#[test]
fn pages_never_exceed_their_height() {
    let rows = (0..10).map(|row| row.to_string()).collect();
    let table = Table { intro: Some("intro".into()), header: Some("header".into()), rows };
    let listing = Listing { tables: vec![table.clone(), table], notes: vec!["note".into(); 5] };
    for height in 0..40 {
        let lines = listing.lines(Some(height));
        assert!(lines.len() <= height);
        let shown = lines.iter().filter(|line| line.parse::<u32>().is_ok()).count();
        let more = lines.iter().find_map(|line| line.strip_prefix("… and ")?.split(' ').next());
        let hidden = more.map_or(0, |count| count.parse::<usize>().unwrap());
        assert!(height == 0 || shown + hidden == 20, "{height}: {lines:?}");
    }
    assert_eq!(listing.lines(None).len(), 31);
}
