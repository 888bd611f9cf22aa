use super::*;
use crate::{
    output::fixture,
    top::{
        events::Events,
        fixture::{at, container, ended, host, transferred},
        history::Histories,
    },
};

/// Reports of two seconds, so that there are rates.
fn figures(report: &Report) -> Vec<Figures> {
    let mut histories = Histories::default();
    histories.update(&host(1), &mut Events::default());
    histories.update(report, &mut Events::default());
    histories.figures().to_vec()
}

fn names(options: &ListOptions) -> Vec<String> {
    let report = host(2);
    let found = lines(&report, &figures(&report), options);
    let name = |line: &ListLine| match *line {
        ListLine::Group(index) => format!("[{}]", found.groups[index].name),
        ListLine::Row(index) => label(&report.containers[index]).to_owned(),
        ListLine::Ended(index) => label(&report.ended[index].container).to_owned(),
    };
    found.lines.iter().map(name).collect()
}

fn sorted(sort: Sort, is_reversed: bool) -> Vec<String> {
    names(&ListOptions { sort, is_reversed, ..ListOptions::default() })
}

#[test]
fn sorted_by_every_column_both_ways() {
    let by_name = ["lonely", "pod-main", "pod-side", "shop-db-1", "shop-web-1"];
    assert_eq!(sorted(Sort::Name, false), by_name);
    let mut reversed = by_name;
    reversed.reverse();
    assert_eq!(sorted(Sort::Name, true), reversed);
    let by_cpu = ["shop-db-1", "pod-main", "shop-web-1", "pod-side", "lonely"];
    assert_eq!(sorted(Sort::Cpu, false), by_cpu);
    assert_eq!(sorted(Sort::Cpu, true)[0], "lonely");
    assert_eq!(sorted(Sort::Memory, false)[..2], ["shop-db-1", "shop-web-1"]);
    // What a row has transferred grows with its place.
    let by_rate = ["pod-side", "pod-main", "lonely", "shop-db-1", "shop-web-1"];
    assert_eq!(sorted(Sort::Network, false), by_rate);
    assert_eq!(sorted(Sort::Block, false), by_rate);
    // All have as many tasks: then it is the name.
    assert_eq!(sorted(Sort::Pids, false), by_name);
}

#[test]
fn the_unknown_is_last_whichever_way() {
    let all = |is_reversed| {
        let options = ListOptions {
            scope: Scope::All,
            sort: Sort::Cpu,
            is_reversed,
            ..ListOptions::default()
        };
        names(&options).pop()
    };
    assert_eq!(all(false).as_deref(), Some("ssh.service"));
    assert_eq!(all(true).as_deref(), Some("ssh.service"));
}

#[test]
fn filtered_by_any_name() {
    let filtered =
        |filter: &str| names(&ListOptions { filter: filter.to_owned(), ..ListOptions::default() });
    assert_eq!(filtered("WEB"), ["shop-web-1"]);
    assert_eq!(filtered("registry/"), ["shop-db-1", "shop-web-1"], "by image");
    assert_eq!(filtered("/docker/73"), ["shop-db-1", "shop-web-1"], "by cgroup");
    assert_eq!(filtered("no match"), [""; 0]);
    assert_eq!(filtered("ssh"), [""; 0], "out of scope");
}

#[test]
fn groups_are_pods_compose_projects_and_cgroups() {
    let tree = ListOptions { is_tree: true, sort: Sort::Cpu, ..ListOptions::default() };
    let expected = [
        "[compose shop]",
        "shop-db-1",
        "shop-web-1",
        "[pod 0c41d62e]",
        "pod-main",
        "pod-side",
        "[/docker]",
        "lonely",
    ];
    assert_eq!(names(&tree), expected);
    let collapsed = ["compose shop".to_owned()].into();
    let folded = names(&ListOptions { collapsed, ..tree });
    assert_eq!(folded[..2], ["[compose shop]", "[pod 0c41d62e]"]);
}

#[test]
fn a_pod_with_a_name_goes_by_it() {
    let mut row = host(1).containers.remove(3);
    let pod = row.pod.as_mut().unwrap();
    pod.name = Some("main".to_owned());
    assert_eq!(group_name(&row), "pod 0c41d62e", "a name alone is not unique");
    row.pod.as_mut().unwrap().namespace = Some("prod".to_owned());
    assert_eq!(group_name(&row), "pod prod/main");
}

#[test]
fn sums_count_a_shared_namespace_once() {
    let report = host(2);
    let options = ListOptions { is_tree: true, sort: Sort::Name, ..ListOptions::default() };
    let found = lines(&report, &figures(&report), &options);
    let group = |name: &str| found.groups.iter().find(|group| group.name == name).unwrap();
    // The two of the pod receive 4 and 5 kB/s, and the second is on the first's devices.
    let pod = group("pod 0c41d62e");
    assert_eq!(pod.sum.figures.get(Figure::Rx), Some(4_000.0));
    assert_eq!(pod.sum.figures.get(Figure::Write), Some(90_000.0));
    let shop = group("compose shop");
    assert_eq!(shop.sum.figures.get(Figure::Rx), Some(3_000.0));
    assert_eq!(shop.sum.figures.get(Figure::Cpu), Some(12.34 + 98.7));
    assert_eq!(shop.sum.figures.get(Figure::MemoryPercent), None);
}

#[test]
fn services_where_there_are_no_containers() {
    let mut report = host(2);
    report.containers.retain(|row| row.kind != Kind::Container);
    let found = lines(&report, &[Figures::default()], &ListOptions::default());
    assert_eq!((found.lines.len(), found.fallback), (1, Some(Kind::Service)));
    report.containers[0].kind = Kind::Other;
    let found = lines(&report, &[Figures::default()], &ListOptions::default());
    assert_eq!((found.lines.len(), found.fallback), (1, Some(Kind::Other)));
    report.containers.clear();
    assert!(lines(&report, &[], &ListOptions::default()).lines.is_empty());
}

#[test]
fn the_ended_stay_in_their_order() {
    let mut report = host(2);
    report.ended = vec![ended("late", 2), ended("early", 1)];
    let options = ListOptions { is_ended: true, ..ListOptions::default() };
    assert_eq!(lines(&report, &[], &options).lines, [ListLine::Ended(0), ListLine::Ended(1)]);
    let filter = "EARLY".to_owned();
    assert_eq!(lines(&report, &[], &ListOptions { filter, ..options }).lines, [ListLine::Ended(1)]);
}

#[test]
fn labels_are_what_people_say() {
    assert_eq!(label(&fixture::web()), "web");
    assert_eq!(label(&fixture::unknown(Kind::Container, fixture::ID)), "3f4e1b2a9c8d");
    assert_eq!(label(&fixture::unknown(Kind::Container, "debian")), "debian");
    let mut row = container("x", 0.0, 0);
    transferred(&mut row, 1);
    row.kind = Kind::Other;
    assert_eq!(label(&row), row.cgroup);
    assert_eq!(at(0), jiff::Timestamp::UNIX_EPOCH);
}
