//! What a terminal shows, as a picture: text with escape sequences for colours → SVG.

use std::fmt::Write as _;

/// A cell, in pixels.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 17.0;
/// Around all cells.
const MARGIN: f64 = 12.0;
/// Where letters stand in a cell.
const BASELINE: f64 = 13.0;

const GROUND: &str = "#16191d";
const TEXT: &str = "#d3d7de";
/// The eight colours and their bright forms.
const COLORS: [&str; 16] = [
    "#16191d", "#f0705f", "#7fc96b", "#e2b341", "#6aa5f8", "#c78bea", "#4cc3c7", "#d3d7de",
    "#7d8590", "#ff8f80", "#9be38a", "#f5cd62", "#8fbfff", "#dcaaf7", "#74dfe2", "#ffffff",
];

/// How text looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Style {
    color: Option<usize>,
    ground: Option<usize>,
    is_bold: bool,
    is_underlined: bool,
    is_reversed: bool,
}

/// Makes a picture of a screen with so many columns.
#[must_use]
pub fn svg(screen: &str, columns: u16) -> String {
    let lines: Vec<&str> = screen.trim_end().lines().collect();
    let width = f64::from(columns) * WIDTH + 2.0 * MARGIN;
    let height = HEIGHT * lines.len() as f64 + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" \
         font-size=\"13\" fill=\"{TEXT}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{GROUND}\"/>\n"
    );
    let (mut style, mut y) = (Style::default(), MARGIN);
    for line in lines {
        let mut x = MARGIN;
        for (text, style) in runs(line, &mut style) {
            x = draw(&mut out, &text, &style, x, y);
        }
        y += HEIGHT;
    }
    out += "</svg>\n";
    out
}

/// Texts of a line that look alike. The style goes on in the next line.
fn runs(line: &str, style: &mut Style) -> Vec<(String, Style)> {
    let mut runs: Vec<(String, Style)> = Vec::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            let sequence: String = letters.by_ref().take_while(|it| *it != 'm').collect();
            style.apply(sequence.trim_start_matches('['));
            continue;
        }
        match runs.last_mut() {
            Some((text, last))
                if last == style && !is_drawn(letter) && !text.ends_with(is_drawn) =>
            {
                text.push(letter);
            }
            _ => runs.push((letter.into(), style.clone())),
        }
    }
    runs
}

impl Style {
    /// A sequence without its beginning and end, such as `1;38;5;6`.
    fn apply(&mut self, sequence: &str) {
        let mut codes = sequence.split(';').map(|code| code.parse().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                4 => self.is_underlined = true,
                7 => self.is_reversed = true,
                22 => self.is_bold = false,
                24 => self.is_underlined = false,
                27 => self.is_reversed = false,
                30..=37 => self.color = Some(code - 30),
                38 => self.color = codes.nth(1),
                39 => self.color = None,
                40..=47 => self.ground = Some(code - 40),
                48 => self.ground = codes.nth(1),
                49 => self.ground = None,
                90..=97 => self.color = Some(code - 82),
                _ => {}
            }
        }
    }

    /// The colours of text and ground.
    fn colors(&self) -> (&'static str, Option<&'static str>) {
        let known = |color: Option<usize>| color.and_then(|color| COLORS.get(color)).copied();
        let (text, ground) = (known(self.color), known(self.ground));
        if self.is_reversed {
            return (ground.unwrap_or(GROUND), Some(text.unwrap_or(TEXT)));
        }
        (text.unwrap_or(TEXT), ground)
    }
}

/// Letters that fonts have in other widths, or with gaps.
fn is_drawn(letter: char) -> bool {
    !letter.is_ascii()
}

/// Draws one run; where the next one begins.
fn draw(out: &mut String, text: &str, style: &Style, x: f64, y: f64) -> f64 {
    let width = WIDTH * text.chars().count() as f64;
    let (color, ground) = style.colors();
    if let Some(ground) = ground {
        rectangle(out, (x, y), (width, HEIGHT), ground);
    }
    if style.is_underlined {
        rectangle(out, (x, y + BASELINE + 2.0), (width, 1.0), color);
    }
    match text.chars().next() {
        Some(bar @ '▁'..='█') => {
            let eighths = f64::from(u32::from(bar) - u32::from('▁') + 1);
            let height = HEIGHT * eighths / 8.0;
            rectangle(out, (x, y + HEIGHT - height), (width, height), color);
        }
        Some('─') => rectangle(out, (x, y + HEIGHT / 2.0 - 0.5), (width, 1.0), color),
        Some('●') => {
            let (x, y) = (x + WIDTH / 2.0, y + HEIGHT / 2.0);
            _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{color}\"/>");
        }
        _ if text.trim().is_empty() => {}
        _ => {
            let weight = if style.is_bold { " font-weight=\"bold\"" } else { "" };
            // Spaces beside each other are one in XML.
            let mut x = x;
            for word in text.split("  ") {
                let begin = x + WIDTH * word.chars().take_while(|it| *it == ' ').count() as f64;
                write(
                    out,
                    word.trim(),
                    (begin, y + BASELINE),
                    &format!("fill=\"{color}\"{weight}"),
                );
                x += WIDTH * (word.chars().count() + 2) as f64;
            }
        }
    }
    x + width
}

/// Letters stand in their cells whichever font it is.
fn write(out: &mut String, text: &str, (x, y): (f64, f64), style: &str) {
    let width = WIDTH * text.chars().count() as f64;
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !text.is_empty() {
        _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\" {style}>{text}</text>");
    }
}

fn rectangle(out: &mut String, at: (f64, f64), size: (f64, f64), color: &str) {
    let ((x, y), (width, height)) = (at, size);
    _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{color}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::svg;

    #[test]
    fn colours_bars_and_letters_stand_in_their_cells() {
        let picture = svg("\x1b[1mab\x1b[0m   <\n\x1b[38;5;2m▄\x1b[39m \x1b[7mx\x1b[0m", 4);
        assert!(picture.contains("viewBox=\"0 0 56 58\""), "{picture}");
        for part in [
            "<text x=\"12\" y=\"25\" textLength=\"16\" fill=\"#d3d7de\" font-weight=\"bold\">ab</text>",
            "<text x=\"52\" y=\"25\" textLength=\"8\" fill=\"#d3d7de\">&lt;</text>",
            "<rect x=\"12\" y=\"37.5\" width=\"8\" height=\"8.5\" fill=\"#7fc96b\"/>",
            "<rect x=\"28\" y=\"29\" width=\"8\" height=\"17\" fill=\"#d3d7de\"/>",
            "<text x=\"28\" y=\"42\" textLength=\"8\" fill=\"#16191d\">x</text>",
        ] {
            assert!(picture.contains(part), "no {part} in {picture}");
        }
    }
}
