//! Requests to the Hub: redirects, the token, what an answer means.
//!
//! hf-hub's own requests are not used: they send the token to whatever host a redirect names, wait for ever, and take
//! a body of the right length for the right one.

use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Proxy};

use super::layout::{address, is_commit, is_etag};
use super::{HubError, HubFile, HubSettings};
use crate::StoreError;

/// Redirects that are followed.
const HOPS: usize = 8;

/// An attempt that did not succeed.
pub(super) enum Failure {
    /// Another attempt would end in the same way.
    Final(HubError),
    /// Another attempt may succeed.
    Again(String),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error.into())
    }
}

/// What the Hub says of a file.
pub(super) struct Metadata {
    pub commit: String,
    pub etag: String,
    pub bytes: u64,
}

/// A connection to the Hub for one file.
pub(super) struct Wire<'a> {
    settings: &'a HubSettings,
    wanted: &'a HubFile,
    agent: Agent,
    address: String,
}

impl<'a> Wire<'a> {
    pub fn new(settings: &'a HubSettings, wanted: &'a HubFile) -> Result<Self, HubError> {
        let address = address(&settings.endpoint, wanted)?;
        let proxy = match &settings.proxy {
            None => None,
            Some(text) => Some(Proxy::new(text).map_err(|error| HubError::Protocol {
                endpoint: settings.endpoint.clone(),
                wanted: Box::new(wanted.clone()),
                reason: format!("the proxy {text}: {error}"),
            })?),
        };
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("umt/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .timeout_resolve(Some(settings.patience))
            .timeout_connect(Some(settings.patience))
            .timeout_recv_response(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .timeout_per_write(Some(settings.patience))
            .build()
            .new_agent();
        Ok(Self { settings, wanted, agent, address })
    }

    /// Commit, etag and length, which the Hub tells before it sends a reader to its storage.
    pub fn metadata(&self) -> Result<Metadata, Failure> {
        let answer = self.follow(true, 0, &|answer| header(answer, "x-repo-commit").is_some())?;
        self.good(&answer)?;
        let commit = header(&answer, "x-repo-commit").filter(|commit| is_commit(commit));
        let etag = header(&answer, "x-linked-etag").or_else(|| header(&answer, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"')).filter(|etag| is_etag(etag));
        // A redirect's own length is not the file's.
        let own = || header(&answer, "content-length").filter(|_| !answer.status().is_redirection());
        let bytes = header(&answer, "x-linked-size").or_else(own);
        let bytes = bytes.and_then(|bytes| bytes.parse().ok());
        match (commit, etag, bytes) {
            (Some(commit), Some(etag), Some(bytes)) => {
                Ok(Metadata { commit: commit.to_owned(), etag: etag.to_owned(), bytes })
            }
            (None, _, _) => Err(self.protocol("no commit in x-repo-commit").into()),
            (_, None, _) => Err(self.protocol("no usable etag").into()),
            (_, _, None) => Err(self.protocol("no length").into()),
        }
    }

    /// The bytes from `start` on, and where they really begin: a server may ignore the range.
    pub fn bytes(&self, start: u64, total: u64) -> Result<(u64, Body), Failure> {
        let answer = self.follow(false, start, &|_| false)?;
        let status = answer.status().as_u16();
        let begin = match status {
            206 => {
                let range = header(&answer, "content-range").unwrap_or_default();
                let whole = format!("bytes {start}-{}/{total}", total.saturating_sub(1));
                if range != whole {
                    return Err(Failure::Again(format!("asked for `{whole}`, got `{range}`")));
                }
                start
            }
            // The whole file, from the start. So would be asked for anew what a server says lies outside of it.
            200 => 0,
            416 => return Err(Failure::Again("the range was refused".into())),
            _ => {
                self.good(&answer)?;
                return Err(Failure::Again(format!("status {status}")));
            }
        };
        Ok((begin, answer.into_body()))
    }

    /// Asks, and goes where redirects lead until `enough` or an answer that is none. The token goes to the endpoint
    /// alone, and never from an encrypted connection to an open one.
    fn follow(
        &self,
        head: bool,
        start: u64,
        enough: &dyn Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>, Failure> {
        let mut url: Uri = self.address.parse().map_err(|_| self.protocol("the address is not one"))?;
        let home = origin(&url);
        for _ in 0..HOPS {
            let mut request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            if let Some(token) = self.settings.token.as_ref().filter(|_| origin(&url) == home) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = request.call().map_err(|error| match error {
                ureq::Error::BadUri(_) | ureq::Error::Http(_) => self.protocol(&error.to_string()).into(),
                _ => Failure::Again(format!("{}: {error}", host(&url))),
            })?;
            if !answer.status().is_redirection() || enough(&answer) {
                return Ok(answer);
            }
            let location = header(&answer, "location").ok_or_else(|| self.protocol("a redirect without an address"))?;
            let next = join(&url, location).ok_or_else(|| self.protocol("a redirect to what is no address"))?;
            if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(self.protocol("a redirect from https to http").into());
            }
            url = next;
        }
        Err(self.protocol("too many redirects").into())
    }

    /// Whether an answer is one; what else it means.
    fn good(&self, answer: &Response<Body>) -> Result<(), Failure> {
        let status = answer.status().as_u16();
        let (endpoint, wanted) = (self.settings.endpoint.clone(), Box::new(self.wanted.clone()));
        match status {
            200..=399 => Ok(()),
            401 | 403 => Err(HubError::Denied { endpoint, wanted, status }.into()),
            404 => {
                let missing = match header(answer, "x-error-code") {
                    Some("RepoNotFound") => "such repository",
                    Some("RevisionNotFound") => "such revision",
                    Some("EntryNotFound") => "such file",
                    _ => "such repository, revision or file",
                };
                Err(HubError::NotFound { endpoint, wanted, missing }.into())
            }
            408 | 429 | 500..=599 => Err(Failure::Again(format!("status {status}"))),
            _ => Err(self.protocol(&format!("status {status}")).into()),
        }
    }

    fn protocol(&self, reason: &str) -> HubError {
        HubError::Protocol {
            endpoint: self.settings.endpoint.clone(),
            wanted: Box::new(self.wanted.clone()),
            reason: reason.to_owned(),
        }
    }
}

fn header<'r>(answer: &'r Response<Body>, name: &str) -> Option<&'r str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Scheme, host and port.
fn origin(url: &Uri) -> Option<String> {
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

fn host(url: &Uri) -> String {
    url.host().unwrap_or_default().to_owned()
}

/// The address that `location` means, seen from `url`: a whole one, or a path of the same server.
fn join(url: &Uri, location: &str) -> Option<Uri> {
    if location.contains("://") {
        return location.parse().ok();
    }
    let path = location.starts_with('/').then_some(location)?;
    format!("{}{path}", origin(url)?).parse().ok()
}
