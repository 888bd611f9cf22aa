//! The page for people: `/`, `/c/NAME` and what they load.
//!
//! Files are embedded as they are in `faces/page/`, and compressed when they are first asked for.
//! They are at a path with a hash of all of them, so that browsers may keep them for ever. All
//! links are relative: the page works below any path of a proxy.

use std::{
    cell::OnceCell,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write as _,
};

use flate2::{Compression, write::GzEncoder};
use hyper::{
    StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};

use crate::server::{
    Face, Request, Route,
    answer::{Answer, bytes, failure},
};

/// What a page may load: its own files, and numbers of this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Embeds files of `faces/page/`.
macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        [$(File::new($name, $content_type, include_str!(concat!("page/", $name)))),*]
    };
}

/// The page. It discloses nothing: the numbers come from the API, with a key if one is needed.
pub(super) struct Page {
    files: Vec<File>,
    version: String,
    list: File,
    container: File,
}

/// A file, and what it is compressed.
struct File {
    name: &'static str,
    content_type: &'static str,
    text: Bytes,
    compressed: OnceCell<Bytes>,
}

impl Face for Page {
    const ROUTES: &'static [Route<Self>] = &[
        Route { needs_key: false, ..Route::get("/c/{name}", Self::container, "a page for people") },
        Route {
            needs_key: false,
            ..Route::get("/assets/{version}/{name}", Self::asset, "what the page loads")
        },
    ];
}

impl Page {
    pub(super) fn new() -> Self {
        let files = files! {
            "app.css": STYLE,
            "app.js": SCRIPT,
            "charts.js": SCRIPT,
            "connection.js": SCRIPT,
            "detail.js": SCRIPT,
            "dom.js": SCRIPT,
            "format.js": SCRIPT,
            "frame.js": SCRIPT,
            "icon.svg": "image/svg+xml",
            "lines.js": SCRIPT,
            "list.js": SCRIPT,
            "picture.js": SCRIPT,
            "series.js": SCRIPT,
            "uPlot.iife.min.js": SCRIPT,
            "uPlot.min.css": STYLE,
        };
        let template = include_str!("page/index.html");
        let mut hasher = DefaultHasher::new();
        template.hash(&mut hasher);
        files.iter().for_each(|file| file.text.hash(&mut hasher));
        let version = format!("{:016x}", hasher.finish());
        let html = |root: &str| {
            let text = template.replace("{{root}}", root).replace("{{version}}", &version);
            File { text: text.into(), ..File::new("index.html", HTML, "") }
        };
        let (list, container) = (html(""), html("../"));
        Self { files: files.into(), version, list, container }
    }

    /// The list, for clients that want HTML. `/` has the list of paths for all others.
    pub(super) fn list(&self, request: &Request) -> Option<Answer> {
        let wants_page = request.header(header::ACCEPT).contains("text/html");
        wants_page.then(|| self.page(&self.list, request))
    }

    fn container(&self, request: Request) -> Answer {
        self.page(&self.container, &request)
    }

    fn page(&self, file: &File, request: &Request) -> Answer {
        let tag = format!("\"{}\"", self.version);
        let is_known = request.header(header::IF_NONE_MATCH) == tag;
        let mut answer = match is_known {
            true => bytes(StatusCode::NOT_MODIFIED, HTML, ""),
            false => file.answer(request),
        };
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let opener = HeaderName::from_static("cross-origin-opener-policy");
        headers.insert(opener, HeaderValue::from_static("same-origin"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        answer
    }

    fn asset(&self, request: Request) -> Answer {
        let is_current = request.param("version").is_some_and(|version| version == self.version);
        let name = request.param("name").filter(|_| is_current);
        let file = name.and_then(|name| self.files.iter().find(|file| file.name == name));
        let Some(file) = file else {
            return failure(StatusCode::NOT_FOUND, "no such file; reload the page");
        };
        let mut answer = file.answer(&request);
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        answer.headers_mut().insert(header::CACHE_CONTROL, for_ever);
        answer
    }
}

impl File {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let text = Bytes::from_static(text.as_bytes());
        Self { name, content_type, text, compressed: OnceCell::new() }
    }

    fn answer(&self, request: &Request) -> Answer {
        let compressed =
            request.accepts_gzip().then(|| self.compressed.get_or_init(|| compress(&self.text)));
        let mut answer =
            bytes(StatusCode::OK, self.content_type, compressed.unwrap_or(&self.text).clone());
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if compressed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// Writing to memory does not fail.
fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the whole page may take over the wire, in bytes.
    const WIRE_BYTES_MAX: usize = 64 * 1024;

    #[test]
    fn everything_that_is_loaded_is_there_and_small() {
        let page = Page::new();
        let wire: usize = page.files.iter().map(|file| compress(&file.text).len()).sum();
        assert!(wire < WIRE_BYTES_MAX, "{wire} bytes");
        let texts = page.files.iter().chain([&page.list]);
        let texts = texts.map(|file| std::str::from_utf8(&file.text).unwrap());
        let quoted = texts.flat_map(|text| text.split(['"', '\''])).filter_map(|quoted| {
            quoted
                .strip_prefix("./")
                .or_else(|| quoted.rsplit_once(&page.version)?.1.strip_prefix('/'))
        });
        let loaded: Vec<_> = quoted.filter(|name| name.contains('.')).collect();
        assert!(loaded.len() > 20);
        for name in loaded {
            assert!(page.files.iter().any(|file| file.name == name), "{name} is not embedded");
        }
    }

    #[test]
    fn text_is_never_html() {
        for file in Page::new().files.iter().filter(|file| file.name != "uPlot.iife.min.js") {
            let text = std::str::from_utf8(&file.text).unwrap();
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{} in {}", word, file.name);
            }
        }
    }
}
