use proptest::prelude::*;
use tare_model::Container;

use super::*;
use crate::output::fixture;

fn page(template: &str, options: &Options) -> String {
    let mut db = fixture::unknown(Kind::Container, "deb");
    db.image = Some("postgres:17\x1b[2J".to_owned());
    let report = fixture::report(vec![fixture::web(), db]);
    let Ok(Format::Template(template)) = format(template) else { panic!("{template}") };
    render(&report, &template, options).lines(None).join("\n")
}

/// What the container `web` looks like.
fn web(template: &str) -> String {
    let template = Template::parse(template).unwrap();
    let web = fixture::web();
    template.line(&row(&web, &Options { names: vec!["3f4".to_owned()], ..Options::default() }))
}

fn row<'a>(container: &'a Container, options: &'a Options) -> Row<'a> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    Row { container, ended: None, now, cells: options.cells(false) }
}

fn fault(template: &str) -> (usize, String) {
    let TemplateError { at, message, .. } = format(template).unwrap_err();
    (at + 1, message)
}

#[test]
fn placeholders_and_text() {
    assert_eq!(web("{{.ID}}: {{ .CPUPerc }}"), "3f4e1b2a9c8d: 12.35%");
    assert_eq!(web("{{.MemUsage}}\\t{{.MemPerc}}\\n"), "1.207MiB / 23.47GiB\t0.01%\n");
    assert_eq!(web("{{.NetIO}}, {{.BlockIO}}, {{.PIDs}}"), "10.5MB / 1.03kB, 0B / 4.1kB, 3");
    assert_eq!(web("{{.Swap}} }} {{/* nothing */}}ü"), "-- }} ü");
    assert_eq!(web("a {{- .Name -}} b"), "awebb");
}

#[test]
fn functions_and_pipelines() {
    for (template, text) in [
        ("{{.Name | upper}}", "WEB"),
        ("{{upper .Name | lower | title}}", "Web"),
        ("{{title \"a-b_c d\"}}", "A-B_c D"),
        ("{{json .Name}}", "\"web\""),
        ("{{split .Name \"e\"}}", "[w b]"),
        ("{{json (split .Name \"\")}}", "[\"w\",\"e\",\"b\"]"),
        ("{{join (split .Name \"e\") `-`}}", "w-b"),
        ("{{\"-\" | join (split .Name \"e\")}}", "w-b"),
        ("{{pad .Name 1 2}}|{{pad \"\" 1 2}}|", " web  ||"),
        ("{{truncate .Name 2}}{{truncate .Name 9}}", "weweb"),
        ("{{2 | truncate .Name}}", "we"),
        ("{{5}}{{\"\\\"\\t\"}}", "5\"\t"),
    ] {
        assert_eq!(web(template), text, "{template}");
    }
}

#[test]
fn the_object_of_docker() {
    let expected = "{\"BlockIO\":\"0B / 4.1kB\",\"CPUPerc\":\"12.35%\",\
                    \"Container\":\"3f4\",\"ID\":\"3f4e1b2a9c8d\",\"MemPerc\":\"0.01%\",\
                    \"MemUsage\":\"1.207MiB / 23.47GiB\",\"Name\":\"web\",\
                    \"NetIO\":\"10.5MB / 1.03kB\",\"PIDs\":\"3\"}";
    assert_eq!(web("{{json .}}"), expected);
}

#[test]
fn a_row_each_by_name_and_safe_on_a_terminal() {
    let expected = "deb postgres:17\\u{1b}[2J\nweb --";
    assert_eq!(page("{{.Name}} {{.Image}}", &Options::default()), expected);
    assert_eq!(page("{{.Name}}", &Options { scope: Scope::Services, ..Options::default() }), "");
}

#[test]
fn tables_have_titles_and_columns() {
    let expected = "NAME      CPU %     pids\nDEB       --        pids\nWEB       12.35%    pids";
    let template = "table {{.Name | upper}}\\t{{.CPUPerc}}\\tpids";
    assert_eq!(page(template, &Options::default()), expected);
}

#[test]
fn formats() {
    assert_eq!(format("table"), Ok(Format::Table));
    assert_eq!(format(""), Ok(Format::Table));
    assert_eq!(format("json"), Ok(Format::Json));
    // As with Docker, a space before `table` makes it a word of the text.
    assert_eq!(web(" table {{.Name}} "), "table web");
    assert!(matches!(format("table {{.ID}}"), Ok(Format::Template(_))));
}

#[test]
fn faults_name_their_place() {
    for (template, at, what) in [
        ("jsno", 1, "there is no placeholder; give `table`, `json`, or a template such as"),
        ("ü {{.Nam}}", 5, "there is no placeholder `.Nam`; did you mean .Name, .Namespace?"),
        ("{{.Name | uper}}", 11, "there is no function `uper`; did you mean upper?"),
        ("{{Name}}", 3, "there is no function `Name`; the placeholder is `.Name`"),
        ("{{if .Name}}x{{end}}", 3, "`if` is not among the functions here: join, json"),
        ("a {{.Name", 3, "this `{{` is never closed"),
        ("{{.Name {{", 9, "`{` is not expected here"),
        ("{{}}", 3, "a placeholder such as .Name is missing here"),
        ("{{.Name |}}", 10, "behind `|` comes a function"),
        ("{{/* x}}", 1, "this comment is never closed"),
        ("{{\"x}}", 3, "this \" is never closed"),
        ("{{\"\\x\"}}", 4, "behind \\ comes n, t, \\ or \""),
        ("{{`x}}", 3, "this ` is never closed"),
        ("{{(.Name}}", 3, "this ( is never closed"),
        ("{{.}}", 3, "the whole row is shown by `json .`"),
        (
            "{{pad .Name 1}}",
            3,
            "`pad` wants a text and two numbers of spaces, and is given text, a",
        ),
        ("{{join .Name \"-\"}}", 3, "`join` wants a list and a separator"),
        ("{{upper}}", 3, "`upper` wants one text, and is given nothing"),
        ("{{upper lower}}", 9, "`lower` needs parentheses here"),
        ("{{truncate .Name 99999999}}", 18, "numbers go to 65536"),
    ] {
        let (found, said) = fault(template);
        assert!((found, said.starts_with(what)) == (at, true), "{template}: {found}: {said}");
    }
    let shown = format("{{.Name}}\t{{.Nam}}").unwrap_err().to_string();
    assert!(shown.ends_with("\n  {{.Name}} {{.Nam}}\n              ^"), "{shown}");
}

#[test]
fn bounded_whatever_it_asks_for() {
    assert_eq!(fault(&format!("{{{{{}", "(".repeat(100))).0, 3 + 32);
    assert!(fault(&"{{.Name}}".repeat(1000)).1.starts_with("a template has 4096 bytes at most"));
    let mut grown = ".Name".to_owned();
    for _ in 0..15 {
        grown = format!("join (split ({grown}) \"\") \"0123456789\"");
    }
    assert_eq!(web(&format!("{{{{{grown}}}}}")).len(), MAX_CELL_BYTES);
}

/// Texts that are nearly templates.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = [
        "{{", "}}", "{{- ", " -}}", ".", ".Name", ".CPUPerc", " ", "|", "upper", "join", "split",
        "pad", "truncate", "json", "(", ")", "\"", "`", "\\t", "\\", "3", "table", "ü", "/*", "*/",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_format_or_a_fault(text in prop_oneof![any::<String>(), nearly()]) {
        match format(&text) {
            Ok(Format::Template(template)) => {
                let web = fixture::web();
                let line = template.line(&row(&web, &Options::default()));
                let _ = (template.header(), line);
            }
            Ok(_) => {}
            Err(fault) => {
                prop_assert!(fault.at <= text.chars().count());
                let _ = fault.to_string();
            }
        }
    }

    #[test]
    fn text_stays_as_it_is(text in "[^{\\\\]*") {
        prop_assert_eq!(web(&format!("{{{{.Name}}}}{text}!")), format!("web{text}!"));
    }
}
