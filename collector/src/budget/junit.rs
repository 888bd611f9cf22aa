//! A result as `JUnit` XML, which CI systems show.

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use crate::{
    budget::{
        check::{Checked, Outcome, State},
        page::sentence,
    },
    output::{measure, text::printable},
};

/// Writes the XML.
pub(super) fn write(outcome: &Outcome, out: impl Write) -> io::Result<()> {
    let mut xml = Writer::new_with_indent(out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |state: fn(State) -> bool| {
        outcome.results.iter().filter(|it| state(it.state)).count().to_string()
    };
    let (tests, failures) = (count(|_| true), count(State::is_failure));
    let skipped = count(|state| state == State::Nothing);
    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", "tare budget"));
    suite.push_attribute(("tests", &*tests));
    suite.push_attribute(("failures", &*failures));
    suite.push_attribute(("skipped", &*skipped));
    xml.write_event(Event::Start(BytesStart::new("testsuites")))?;
    xml.write_event(Event::Start(suite))?;
    for checked in &outcome.results {
        case(&mut xml, checked)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    xml.into_inner().write_all(b"\n")
}

fn case(xml: &mut Writer<impl Write>, checked: &Checked) -> io::Result<()> {
    let mut case = BytesStart::new("testcase");
    // XML has no way to write control characters.
    case.push_attribute(("classname", &*printable(&checked.container)));
    case.push_attribute(("name", checked.measure.name));
    let said = sentence(checked);
    let mut inner = match checked.state {
        State::Kept => return xml.write_event(Event::Empty(case)),
        State::Nothing => BytesStart::new("skipped"),
        State::Exceeded | State::NoContainer | State::Unknown => BytesStart::new("failure"),
    };
    inner.push_attribute(("message", &*said));
    xml.write_event(Event::Start(case))?;
    if checked.state.is_failure() {
        let text = format!("limit: {}", measure::shown(checked.measure, checked.limit));
        xml.write_event(Event::Start(inner))?;
        xml.write_event(Event::Text(BytesText::new(&text)))?;
        xml.write_event(Event::End(BytesEnd::new("failure")))?;
    } else {
        xml.write_event(Event::Empty(inner))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::*;
    use crate::{
        budget::{check::check, file::parse},
        output::fixture,
    };
    use tare_model::Snapshot;

    #[test]
    fn names_cannot_break_the_xml() {
        let mut row = fixture::web();
        row.name = Some("<a & \"b\"\u{1b}>".to_owned());
        let budgets = parse("[[budget]]\ncontainers = '*'\npids = 1\nmemory_peak_bytes = 1");
        let snapshot = Snapshot::new(None, fixture::report(vec![row]));
        let mut out = Vec::new();
        write(&check(&budgets.unwrap(), &snapshot), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut reader = Reader::from_str(&text);
        let mut failures = 0;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) if tag.name().as_ref() == b"failure" => failures += 1,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(failures, 2, "{text}");
        assert!(text.contains("tests=\"2\" failures=\"2\" skipped=\"0\""), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("&lt;a &amp;"), "{text}");
    }
}
