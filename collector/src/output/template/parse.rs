//! Parses templates. An error is an offset in bytes and a message.

use super::{FUNCTIONS, MAX_CELL_BYTES, MAX_TEMPLATE_BYTES, Split, Text};
use crate::output::{
    columns::{COLUMNS, by_placeholder},
    nearest::did_you_mean,
};

type Parsed<T> = Result<T, (usize, String)>;

/// How deep parentheses may nest.
const MAX_DEPTH: usize = 32;

/// Words of Go's templates that these do not have.
const KEYWORDS: [&str; 27] = [
    "and", "block", "break", "call", "continue", "define", "else", "end", "eq", "ge", "gt", "html",
    "if", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf", "println",
    "range", "template", "with",
];

/// Parses a template from its byte `start` on.
pub(super) fn parts(source: &str, start: usize) -> Parsed<Vec<Text>> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err((0, format!("a template has {MAX_TEMPLATE_BYTES} bytes at most")));
    }
    let mut parser = Parser { source, at: start, depth: 0 };
    let mut parts = Vec::new();
    let mut trim = false;
    let mut has_action = false;
    while !parser.rest().is_empty() {
        let literal = parser.literal(trim);
        if !literal.is_empty() {
            parts.push(Text::Literal(literal));
        }
        if parser.rest().is_empty() {
            break;
        }
        has_action = true;
        let (part, trim_behind) = parser.action()?;
        parts.extend(part);
        trim = trim_behind;
    }
    if has_action {
        return Ok(parts);
    }
    let formats = "give `table`, `json`, or a template such as '{{.Name}}: {{.CPUPerc}}'";
    Err((start, format!("there is no placeholder; {formats}")))
}

/// The value of an operand.
enum Value {
    Text(Text),
    List(Split),
    Number(usize),
    Row,
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Number(_) => "a number",
            Self::Row => "the whole row",
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    /// The offset in bytes.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err((self.at, what.into()))
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Consumes `text` if it comes next. Returns whether it did.
    fn take(&mut self, text: &str) -> bool {
        let taken = self.rest().starts_with(text);
        if taken {
            self.at += text.len();
        }
        taken
    }

    /// Consumes the characters that fit, and returns them.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !fits(character)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Consumes the text up to the next action. `trim` removes white space at its start, a
    /// following `{{- ` removes it at its end.
    fn literal(&mut self, trim: bool) -> String {
        let rest = self.rest();
        let end = rest.find("{{").unwrap_or(rest.len());
        self.at += end;
        let mut text = rest[..end].replace("\\t", "\t").replace("\\n", "\n");
        if trim {
            text = text.trim_start().to_owned();
        }
        if trims_before(self.rest()) {
            text.truncate(text.trim_end().len());
        }
        text
    }

    /// Parses `{{…}}`. Returns the expression, and whether white space behind it is removed.
    fn action(&mut self) -> Parsed<(Option<Text>, bool)> {
        let opened = self.at;
        let trims = trims_before(self.rest());
        self.at += if trims { 3 } else { 2 };
        self.skip_spaces();
        if self.take("/*") {
            let Some(end) = self.rest().find("*/") else {
                return Err((opened, "this comment is never closed".to_owned()));
            };
            self.at += end + 2;
            return Ok((None, self.close(opened)?));
        }
        let start = self.at;
        let value = self.pipeline()?;
        let trims = self.close(opened)?;
        let text = match value {
            Value::Text(text) => text,
            Value::List(split) => Text::List(split.into()),
            Value::Number(number) => Text::Literal(number.to_string()),
            Value::Row => {
                let what = "the whole row is shown by `json .`, a part of it by `.Name`";
                return Err((start, what.to_owned()));
            }
        };
        Ok((Some(text), trims))
    }

    /// Consumes `}}`. Returns whether white space behind it is removed.
    fn close(&mut self, opened: usize) -> Parsed<bool> {
        self.skip_spaces();
        let before = self.source.get(..self.at).unwrap_or_default();
        if before.ends_with(char::is_whitespace) && self.take("-}}") {
            return Ok(true);
        }
        match self.rest() {
            "" => Err((opened, "this `{{` is never closed".to_owned())),
            _ if self.take("}}") => Ok(false),
            rest => {
                let found = rest.chars().next().unwrap_or(' ');
                self.fail(format!("`{}` is not expected here", found.escape_debug()))
            }
        }
    }

    /// Parses `command | command | …`. Each command gets the previous value as its last operand.
    fn pipeline(&mut self) -> Parsed<Value> {
        let mut value = self.command(None)?;
        loop {
            self.skip_spaces();
            if !self.take("|") {
                return Ok(value);
            }
            value = self.command(Some(value))?;
        }
    }

    fn command(&mut self, piped: Option<Value>) -> Parsed<Value> {
        self.skip_spaces();
        let at = self.at;
        if !self.rest().starts_with(|first: char| first.is_alphabetic()) {
            return match piped {
                None => self.operand(),
                Some(_) => self.fail("behind `|` comes a function"),
            };
        }
        let name = self.take_while(is_word);
        if !FUNCTIONS.contains(&name) {
            return Err((at, no_function(name)));
        }
        let mut operands = Vec::new();
        loop {
            self.skip_spaces();
            if self.rest().is_empty() || self.rest().starts_with(['|', ')', '}', '-']) {
                break;
            }
            operands.push(self.operand()?);
        }
        operands.extend(piped);
        call(name, operands).map_err(|what| (at, what))
    }

    fn operand(&mut self) -> Parsed<Value> {
        let at = self.at;
        let rest = self.rest();
        match rest.chars().next() {
            Some('.') => {
                self.at += 1;
                self.placeholder(at)
            }
            Some('"') => self.quoted().map(|text| Value::Text(Text::Literal(text))),
            Some('`') => {
                let Some(end) = rest[1..].find('`') else {
                    return self.fail("this ` is never closed");
                };
                self.at += end + 2;
                Ok(Value::Text(Text::Literal(rest[1..=end].to_owned())))
            }
            Some('0'..='9') => {
                let digits = self.take_while(|character| character.is_ascii_digit());
                let number = digits.parse().ok().filter(|number| *number <= MAX_CELL_BYTES);
                let what = || (at, format!("numbers go to {MAX_CELL_BYTES}"));
                number.map(Value::Number).ok_or_else(what)
            }
            Some('(') if self.depth < MAX_DEPTH => {
                self.at += 1;
                self.depth += 1;
                let value = self.pipeline()?;
                self.depth -= 1;
                self.skip_spaces();
                if self.take(")") { Ok(value) } else { Err((at, "this ( is never closed".into())) }
            }
            Some('(') => self.fail(format!("parentheses nest {MAX_DEPTH} deep at most")),
            Some(first) if first.is_alphabetic() => {
                let name = self.take_while(is_word);
                let what =
                    format!("`{name}` needs parentheses here, or a dot if it is a placeholder");
                Err((at, what))
            }
            Some('}') | None => self.fail("a placeholder such as .Name is missing here"),
            Some(other) => self.fail(format!("`{}` is not expected here", other.escape_debug())),
        }
    }

    /// Parses the name behind the dot at `at`.
    fn placeholder(&mut self, at: usize) -> Parsed<Value> {
        let name = self.take_while(is_word);
        if name.is_empty() {
            return Ok(Value::Row);
        }
        if let Some(column) = by_placeholder(name) {
            return Ok(Value::Text(Text::Column(column)));
        }
        let name = format!(".{name}");
        let all: Vec<_> = COLUMNS.iter().map(|column| format!(".{}", column.placeholder)).collect();
        let meant = did_you_mean(&name, all.iter().map(String::as_str));
        let list = "`tare stats --columns help` lists all";
        Err((at, format!("there is no placeholder `{name}`{meant}; {list}")))
    }

    fn quoted(&mut self) -> Parsed<String> {
        let opened = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, same @ ('\\' | '"'))) => same,
                    _ => {
                        let what = "behind \\ comes n, t, \\ or \"".to_owned();
                        return Err((opened + offset, what));
                    }
                }),
                other => text.push(other),
            }
        }
        Err((opened, "this \" is never closed".to_owned()))
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn trims_before(action: &str) -> bool {
    action.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

fn no_function(name: &str) -> String {
    let all = FUNCTIONS.join(", ");
    if KEYWORDS.contains(&name) {
        return format!("`{name}` is not among the functions here: {all}");
    }
    if by_placeholder(name).is_some() {
        return format!("there is no function `{name}`; the placeholder is `.{name}`");
    }
    let meant = did_you_mean(name, FUNCTIONS);
    format!("there is no function `{name}`{meant}; there are {all}")
}

/// A function and its operands; what is wrong if they do not fit.
fn call(name: &str, operands: Vec<Value>) -> Result<Value, String> {
    let given: Vec<_> = operands.iter().map(Value::kind).collect();
    let given = if given.is_empty() { "nothing".to_owned() } else { given.join(", ") };
    let wrong = |wants: &str| Err(format!("`{name}` wants {wants}, and is given {given}"));
    let mut operands = operands.into_iter();
    let four = (operands.next(), operands.next(), operands.next(), operands.next());
    let text = match (name, four) {
        ("lower", (Some(Value::Text(text)), None, ..)) => Text::Lower(text.into()),
        ("upper", (Some(Value::Text(text)), None, ..)) => Text::Upper(text.into()),
        ("title", (Some(Value::Text(text)), None, ..)) => Text::Title(text.into()),
        ("json", (Some(Value::Text(text)), None, ..)) => Text::JsonString(text.into()),
        ("json", (Some(Value::List(split)), None, ..)) => Text::JsonList(split.into()),
        ("json", (Some(Value::Number(number)), None, ..)) => Text::Literal(number.to_string()),
        ("json", (Some(Value::Row), None, ..)) => Text::JsonRow,
        ("truncate", (Some(Value::Text(text)), Some(Value::Number(length)), None, _)) => {
            Text::Truncate(text.into(), length)
        }
        (
            "pad",
            (Some(Value::Text(text)), Some(Value::Number(a)), Some(Value::Number(b)), None),
        ) => Text::Pad(text.into(), a, b),
        ("join", (Some(Value::List(split)), Some(Value::Text(separator)), None, _)) => {
            Text::Join(split.into(), separator.into())
        }
        ("split", (Some(Value::Text(text)), Some(Value::Text(separator)), None, _)) => {
            return Ok(Value::List(Split { text, separator }));
        }
        ("truncate", _) => return wrong("a text and a length"),
        ("pad", _) => return wrong("a text and two numbers of spaces"),
        ("join", _) => {
            return wrong("a list and a separator, as in `join (split .Name \"-\") \" \"`");
        }
        ("split", _) => return wrong("a text and a separator"),
        _ => return wrong("one text"),
    };
    Ok(Value::Text(text))
}
