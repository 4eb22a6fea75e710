//! A small Hub on this machine: the part of its protocol that a download needs, and ways to break it.
//!
//! Two listeners stand for two hosts: the Hub, which knows names and commits and redirects to storage, and the storage.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The commit of every repository's `main`.
pub const COMMIT: &str = "590dfdd48494d2316a8385e1ca7fbec3b9359b35";

/// What goes wrong, once, with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trick {
    /// The Hub answers with this status.
    HubStatus(u16),
    /// The storage answers with this status.
    Status(u16),
    /// The storage ends the connection after so many bytes of the body.
    Cut(usize),
    /// The storage sends the whole file, whatever range was asked for.
    WholeFile,
    /// The storage sends as many bytes as it should, but other ones.
    OtherBytes,
    /// The storage sends a byte at a time with a pause after each.
    Drip(Duration),
    /// The storage takes the request and is silent for so long.
    Silence(Duration),
    /// The storage goes on after the announced length.
    TooMuch,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub storage: bool,
    pub method: String,
    pub path: String,
    pub range: Option<u64>,
    pub token: Option<String>,
}

#[derive(Default)]
struct State {
    /// `owner/name` to file to bytes.
    repositories: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Repositories that want a token.
    tokens: BTreeMap<String, String>,
    moved: BTreeMap<String, String>,
    /// Replaces the etag.
    etag: Option<String>,
    /// No etag of a large file.
    small: bool,
    tricks: Vec<Trick>,
    log: Vec<Request>,
}

/// A Hub and its storage; both end with the process.
pub struct Server {
    /// The Hub's address.
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A Hub with one file in one repository.
    pub fn new(repo: &str, file: &str, bytes: &[u8]) -> Server {
        let (hub, storage) = (listen(), listen());
        let [address, behind] = [&hub, &storage].map(|l| format!("http://{}", l.local_addr().expect("an address")));
        let state = Arc::new(Mutex::new(State::default()));
        let server = Server { address, state };
        server.put(repo, file, bytes);
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let (state, behind) = (Arc::clone(&server.state), behind.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (state, behind) = (Arc::clone(&state), behind.clone());
                    // A client that goes away is no fault of the server.
                    std::thread::spawn(move || answer(stream, is_storage, &state, &behind));
                }
            });
        }
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a file.
    pub fn put(&self, repo: &str, file: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.repositories.entry(repo.into()).or_default().insert(file.into(), bytes.to_vec());
    }

    /// The repository wants this token from now on.
    pub fn protect(&self, repo: &str, token: &str) {
        self.state().tokens.insert(repo.into(), token.into());
    }

    /// The repository has another name now; the old one leads there.
    pub fn rename(&self, old: &str, new: &str) {
        self.state().moved.insert(old.into(), new.into());
    }

    /// The Hub gives this etag, whatever the bytes are.
    pub fn set_etag(&self, etag: &str) {
        self.state().etag = Some(etag.into());
    }

    /// Files are so small that the Hub keeps them itself and does not tell their SHA-256.
    pub fn keep_small(&self) {
        self.state().small = true;
    }

    /// What goes wrong next, in this order.
    pub fn tricks(&self, tricks: &[Trick]) {
        self.state().tricks = tricks.to_vec();
    }

    /// Every request so far; forgotten with this call.
    pub fn log(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().log)
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn answer(mut stream: TcpStream, storage: bool, state: &Mutex<State>, behind: &str) {
    let Some(request) = read(&stream, storage) else { return };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.log.push(request.clone());
    let next = state.tricks.first().cloned();
    let trick = next.filter(|trick| storage != matches!(trick, Trick::HubStatus(_)));
    if trick.is_some() {
        state.tricks.remove(0);
    }
    if storage {
        let digest = request.path.trim_start_matches("/blob/").to_owned();
        let all = state.repositories.values().flat_map(BTreeMap::values);
        let bytes = all.into_iter().find(|bytes| umt_store::sha256_hex(bytes) == digest).cloned();
        drop(state);
        send(&mut stream, bytes.unwrap_or_default(), request.range, trick);
        return;
    }
    let text = match trick {
        Some(Trick::HubStatus(status)) => head(status, &[("content-length", "0".into())]),
        _ => hub(&state, &request, behind),
    };
    let _ = stream.write_all(text.as_bytes());
}

fn read(stream: &TcpStream, storage: bool) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut range, mut token) = (None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "range" => range = value.trim_start_matches("bytes=").trim_end_matches('-').parse().ok(),
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(Request { storage, method, path, range, token })
}

fn head(status: u16, headers: &[(&str, String)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} -\r\n{lines}connection: close\r\n\r\n")
}

/// `/<owner>/<name>/resolve/<revision>/<file>`
fn hub(state: &State, request: &Request, behind: &str) -> String {
    let none = |code: &str| head(404, &[("x-error-code", code.into()), ("content-length", "0".into())]);
    let Some((repo, rest)) = request.path.trim_start_matches('/').split_once("/resolve/") else {
        return none("RepoNotFound");
    };
    if let Some(new) = state.moved.get(repo) {
        return head(307, &[("location", format!("/{new}/resolve/{rest}")), ("content-length", "0".into())]);
    }
    let Some(files) = state.repositories.get(repo) else { return none("RepoNotFound") };
    if state.tokens.get(repo).is_some_and(|token| request.token.as_ref() != Some(token)) {
        return head(401, &[("content-length", "0".into())]);
    }
    let Some((revision, file)) = rest.split_once('/') else { return none("EntryNotFound") };
    if revision != "main" && revision != COMMIT {
        return none("RevisionNotFound");
    }
    let Some(bytes) = files.get(file) else { return none("EntryNotFound") };
    let commit = ("x-repo-commit", COMMIT.to_owned());
    let digest = umt_store::sha256_hex(bytes);
    let length = bytes.len().to_string();
    if state.small {
        let etag = format!("\"{}\"", &digest[..40]);
        let mut text = head(200, &[commit, ("etag", etag), ("content-length", length)]);
        if request.method == "GET" {
            text += &String::from_utf8_lossy(bytes);
        }
        return text;
    }
    let etag = state.etag.clone().unwrap_or_else(|| digest.clone());
    let headers = [
        commit,
        ("x-linked-etag", format!("\"{etag}\"")),
        ("x-linked-size", length),
        ("location", format!("{behind}/blob/{digest}")),
        ("content-length", "0".into()),
    ];
    head(302, &headers)
}

fn send(stream: &mut TcpStream, mut bytes: Vec<u8>, range: Option<u64>, trick: Option<Trick>) {
    match trick {
        Some(Trick::Status(status)) => {
            let _ = stream.write_all(head(status, &[("content-length", "0".into())]).as_bytes());
            return;
        }
        Some(Trick::Silence(time)) => std::thread::sleep(time),
        Some(Trick::OtherBytes) => bytes.iter_mut().for_each(|byte| *byte ^= 0x40),
        _ => {}
    }
    let total = bytes.len();
    let start = range.filter(|_| trick != Some(Trick::WholeFile)).map_or(0, |start| start as usize);
    let body = &bytes[start.min(total)..];
    let mut headers = vec![("content-length", body.len().to_string())];
    if start > 0 {
        headers.push(("content-range", format!("bytes {start}-{}/{total}", total - 1)));
    }
    if trick == Some(Trick::TooMuch) {
        headers.clear();
    }
    let begun = stream.write_all(head(if start > 0 { 206 } else { 200 }, &headers).as_bytes());
    let _ = match trick {
        Some(Trick::Cut(after)) => stream.write_all(&body[..after.min(body.len())]),
        Some(Trick::TooMuch) => stream.write_all(&[body, b"and more"].concat()),
        Some(Trick::Drip(pause)) => body.iter().try_for_each(|byte| {
            std::thread::sleep(pause);
            stream.write_all(&[*byte])
        }),
        _ => begun.and_then(|()| stream.write_all(body)),
    };
}
