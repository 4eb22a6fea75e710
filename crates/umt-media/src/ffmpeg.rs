//! The installed `ffmpeg` command: the one place that starts it.
//!
//! Each call has one thread, a time limit and bounded output. ffmpeg conceals errors by inventing
//! pixels and samples; here whatever it reports as an error is an error of the file.

use crate::{error::MediaError, limits::Limits};
use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// The command and how long one call of it may take.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    /// Name or path of the program.
    pub program: PathBuf,
    /// After this long the call is ended.
    pub time_limit: Duration,
}

impl Default for Ffmpeg {
    fn default() -> Self {
        Self { program: PathBuf::from("ffmpeg"), time_limit: Duration::from_secs(60) }
    }
}

/// The most bytes of one call's messages that are looked at.
const MAX_MESSAGES: u64 = 256 << 20;
const LONGEST_COMPLAINT: usize = 300;

impl Ffmpeg {
    /// Runs the command on `path` with `arguments` after the input; `read` takes its output and
    /// `message` each line that it logs. `Ok(None)` if there is no such command.
    ///
    /// # Errors
    /// What `read` returns; [`MediaError::Malformed`] with the first error that the command
    /// reports, or if it takes longer than the time limit.
    pub fn run<T>(
        &self,
        path: &Path,
        arguments: &[&str],
        limits: &Limits,
        mut message: impl FnMut(&str) + Send,
        read: impl FnOnce(&mut dyn Read) -> Result<T, MediaError>,
    ) -> Result<Option<T>, MediaError> {
        let mut child = match self.spawn(path, arguments, limits) {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MediaError::Io { path: self.program.clone(), source }),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let child = Mutex::new(child);
        let (done, finished) = mpsc::channel::<()>();
        let (result, complaint, in_time) = thread::scope(|scope| {
            let child = &child;
            let watch = scope.spawn(move || {
                let in_time = !matches!(finished.recv_timeout(self.time_limit), Err(mpsc::RecvTimeoutError::Timeout));
                stop(child);
                in_time
            });
            let complaint = scope.spawn(move || messages(stderr, &mut message));
            let result = match stdout {
                Some(mut stdout) => read(&mut stdout),
                None => Err(malformed(path, "ffmpeg has no output")),
            };
            // Whatever it would still send is not wanted: its pipe is closed by now. It may yet
            // report an error of what it sent, so it ends by itself, within the time limit.
            let complaint = complaint.join().unwrap_or_default();
            drop(done);
            (result, complaint, watch.join().unwrap_or(true))
        });
        if !in_time {
            let seconds = self.time_limit.as_secs_f64();
            return Err(malformed(path, format!("ffmpeg took longer than {seconds} s")));
        }
        match (result, complaint) {
            (Err(error @ MediaError::Limit { .. }), _) => Err(error),
            (_, Some(line)) => Err(malformed(path, format!("ffmpeg reports an error: {line}"))),
            (result, None) => result.map(Some),
        }
    }

    fn spawn(&self, path: &Path, arguments: &[&str], limits: &Limits) -> io::Result<Child> {
        // `file:` keeps names that begin with `-` or hold a colon from being read as something
        // else; the list of protocols keeps play lists from opening anything else.
        let mut input = OsString::from("file:");
        input.push(path);
        let pixels = limits.max_pixels.min(i32::MAX as u64).to_string();
        Command::new(&self.program)
            .args(["-nostdin", "-hide_banner", "-nostats", "-v", "level+info", "-xerror", "-threads", "1"])
            .args(["-protocol_whitelist", "file,pipe", "-max_pixels", &pixels, "-i"])
            .args([input.as_os_str(), OsStr::new("-sn"), OsStr::new("-dn")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// An error of a file that was read by the command.
pub fn malformed(path: &Path, reason: impl Into<String>) -> MediaError {
    MediaError::malformed(format!("{}, read by the installed ffmpeg,", path.display()), reason)
}

/// Kills the command if it still runs, and takes note of its end.
fn stop(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Hands each line to `message`; returns the first that is an error, with its prefixes.
fn messages(stderr: Option<impl Read>, message: &mut dyn FnMut(&str)) -> Option<String> {
    let mut stderr = BufReader::new(stderr?);
    let mut complaint = None;
    let mut line = Vec::new();
    let mut left = MAX_MESSAGES;
    while left > 0 {
        line.clear();
        match stderr.by_ref().take(left).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(read) => left -= read as u64,
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if complaint.is_none() && ["[error]", "[fatal]", "[panic]"].iter().any(|level| text.contains(level)) {
            complaint = Some(text.chars().take(LONGEST_COMPLAINT).collect());
        }
        message(text);
    }
    let _ = io::copy(&mut stderr, &mut io::sink());
    complaint
}
