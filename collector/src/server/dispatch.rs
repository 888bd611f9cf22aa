//! From a request to the answer of a face.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::{
    Request as HttpRequest, StatusCode,
    body::{Body, Bytes},
    header::{self, HeaderValue},
};
use tokio::time;

use crate::server::{
    access,
    answer::Answer,
    context::Context,
    face::{Found, ListenerGroup, Router},
    request::Request,
    takeover::Admission,
};

/// How long a client may take to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection came in.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) group: ListenerGroup,
    /// Whether clients need no key: the permissions of a unix socket decide already.
    pub(super) is_trusted: bool,
}

/// Answers requests.
pub(super) struct Dispatcher {
    pub(super) context: std::rc::Rc<Context>,
    pub(super) router: Router,
}

impl Dispatcher {
    /// The answer to a request.
    pub(super) async fn answer<B>(&self, request: HttpRequest<B>, origin: Origin) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut answer = self.checked(request, origin).await.unwrap_or_else(|refusal| refusal);
        self.context.counts.answered(answer.status().as_u16());
        let headers = answer.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    async fn checked<B>(&self, request: HttpRequest<B>, origin: Origin) -> Result<Answer, Answer>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let group = origin.group;
        let config = self.context.config();
        if !origin.is_trusted && !config.hosts.allow(request.uri(), request.headers()) {
            let message = "the name in `Host` is none of this server's; see --allow-host";
            return Err(closing(group.failure(StatusCode::MISDIRECTED_REQUEST, message)));
        }
        let (method, path) = (request.method().as_str(), request.uri().path());
        let found = match self.router.find(group, method, path) {
            Found::WrongMethod(allowed) => return Err(wrong_method(group, &allowed)),
            Found::Nothing if !["GET", "HEAD"].contains(&method) => {
                return Err(wrong_method(group, "GET, HEAD"));
            }
            Found::Nothing => None,
            Found::Endpoint(endpoint, params) => Some((endpoint, params)),
        };
        let endpoint = found.as_ref().map(|(endpoint, _)| *endpoint);
        let bytes_max = endpoint.map_or(0, |endpoint| endpoint.body_bytes_max);
        if bytes_max == 0 && !request.body().is_end_stream() {
            return Err(closing(
                group.failure(StatusCode::PAYLOAD_TOO_LARGE, "no body is accepted"),
            ));
        }
        // Without a key, a path that is not there is answered like one that is.
        let key = access::key(request.headers());
        if !origin.is_trusted
            && endpoint.is_none_or(|endpoint| endpoint.needs_key)
            && !config.access.allows(key.as_deref())
        {
            return Err(unauthorized(group));
        }
        let Some((endpoint, params)) = found else {
            return Err(group.failure(StatusCode::NOT_FOUND, "no such path; see /"));
        };
        let admission = Admission::new(key.as_deref(), origin.is_trusted);
        let (mut parts, body) = request.into_parts();
        if parts.headers.contains_key(header::UPGRADE) {
            parts.extensions.insert(admission);
        }
        let body = read_body(body, bytes_max, group).await?;
        Ok((endpoint.handler)(Request::new(parts, body, params)))
    }
}

async fn read_body<B>(body: B, bytes_max: usize, group: ListenerGroup) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the body is longer than {bytes_max} bytes");
            Err(closing(group.failure(StatusCode::PAYLOAD_TOO_LARGE, &message)))
        }
        Ok(Err(_)) => Err(closing(group.failure(StatusCode::BAD_REQUEST, "the body breaks off"))),
        Err(_) => {
            Err(closing(group.failure(StatusCode::REQUEST_TIMEOUT, "the body takes too long")))
        }
    }
}

fn wrong_method(group: ListenerGroup, allowed: &str) -> Answer {
    let mut refused = group.failure(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed}"));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        refused.headers_mut().insert(header::ALLOW, allowed);
    }
    closing(refused)
}

fn unauthorized(group: ListenerGroup) -> Answer {
    let mut refused = group.failure(StatusCode::UNAUTHORIZED, "a token or a password is missing");
    let schemes = HeaderValue::from_static("Bearer, Basic realm=\"tare\"");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, schemes);
    refused
}

/// Ends the connection after a request whose rest is not worth reading.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
