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

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use hyper::{
    StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use ring::digest::{SHA256, digest};

use crate::server::{
    Face, Request, Route,
    answer::{Answer, bytes, failure},
};

/// What a page may load: its own files, the style in it, and numbers of this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'sha256-{{style}}'; \
                      img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// The style is in the page, so that it is painted before anything else is loaded.
const STYLES: [&str; 2] = [include_str!("page/uPlot.min.css"), include_str!("page/app.css")];

/// A script of `faces/page/`: its name and its text.
macro_rules! script {
    ($name:literal) => {
        ($name, include_str!(concat!("page/", $name)))
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The scripts of every page.
const COMMON: [(&str, &str); 10] = [
    script!("app.js"),
    script!("connection.js"),
    script!("dom.js"),
    script!("format.js"),
    script!("frame.js"),
    script!("lines.js"),
    script!("list.js"),
    script!("picture.js"),
    script!("series.js"),
    script!("sparks.js"),
];

/// Those that the list loads last, and the page of a container at once.
const CHARTS: [(&str, &str); 6] = [
    script!("charts.js"),
    script!("detail.js"),
    script!("heatmap.js"),
    script!("past.js"),
    script!("span.js"),
    script!("uPlot.js"),
];

/// The page. It discloses nothing: the numbers come from the API, with a key if one is needed.
pub(super) struct Page {
    files: Vec<File>,
    version: String,
    list: File,
    container: File,
    policy: String,
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
        let scripts = COMMON.iter().chain(&CHARTS);
        let mut files: Vec<_> =
            scripts.map(|(name, text)| File::new(name, SCRIPT, *text)).collect();
        files.push(File::new("icon.svg", "image/svg+xml", include_str!("page/icon.svg")));
        let (template, style) = (include_str!("page/index.html"), STYLES.concat());
        let mut hasher = DefaultHasher::new();
        (template, &style).hash(&mut hasher);
        files.iter().for_each(|file| file.text.hash(&mut hasher));
        let version = format!("{:016x}", hasher.finish());
        let html = |root: &str, loaded: &[&[(&str, &str)]]| {
            let preload = |(name, _): &(&str, &str)| {
                format!("<link rel=\"modulepreload\" href=\"{root}assets/{version}/{name}\">\n")
            };
            let preload: String = loaded.iter().copied().flatten().map(preload).collect();
            let text = template.replace("{{preload}}\n", &preload).replace("{{style}}", &style);
            let text = text.replace("{{root}}", root).replace("{{version}}", &version);
            File::new("index.html", HTML, text)
        };
        let (list, container) = (html("", &[&COMMON]), html("../", &[&COMMON, &CHARTS]));
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        Self { files, version, list, container, policy: POLICY.replace("{{style}}", &hash) }
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
        if let Ok(policy) = HeaderValue::from_str(&self.policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
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
    fn new(name: &'static str, content_type: &'static str, text: impl Into<Bytes>) -> Self {
        Self { name, content_type, text: text.into(), compressed: OnceCell::new() }
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
        for file in Page::new().files.iter().filter(|file| file.name != "uPlot.js") {
            let text = std::str::from_utf8(&file.text).unwrap();
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{} in {}", word, file.name);
            }
        }
    }
}
