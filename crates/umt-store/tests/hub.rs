//! R27: whatever a server does, only verified bytes get a name.

#[path = "common/server.rs"]
mod server;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use server::{COMMIT, Request, Server, Trick};
use umt_store::hub::{HubCopy, HubError, HubFile, HubSettings, Transfer, fetch};
use umt_store::sha256_hex;

const REPO: &str = "timm/resnet18.tv_in1k";
const FILE: &str = "model.safetensors";

type Outcome = Result<(), Box<dyn Error>>;

/// Bytes that look like nothing else.
fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect()
}

fn server() -> Server {
    Server::new(REPO, FILE, &weights())
}

fn settings(server: &Server, cache: &Path) -> HubSettings {
    HubSettings {
        endpoint: server.address.clone(),
        retries: 2,
        wait: Duration::from_millis(1),
        patience: Duration::from_secs(5),
        least: 1000,
        ..HubSettings::new(cache)
    }
}

fn wanted(revision: &str) -> HubFile {
    HubFile { repo: REPO.into(), revision: revision.into(), file: FILE.into(), sha256: None }
}

fn get(settings: &HubSettings, wanted: &HubFile) -> Result<HubCopy, HubError> {
    fetch(settings, wanted, &mut |_| {})
}

/// Every file and link below the cache, relative to it.
fn below(cache: &Path) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => walk(&entry.path(), found),
                false => found.push(entry.path()),
            }
        }
    }
    let mut found = Vec::new();
    walk(cache, &mut found);
    found.sort();
    found.into_iter().filter_map(|p| Some(p.strip_prefix(cache).ok()?.display().to_string())).collect()
}

fn names_without(cache: &Path, word: &str) -> bool {
    below(cache).iter().all(|name| !name.contains(word))
}

fn ranges(log: &[Request]) -> Vec<Option<u64>> {
    log.iter().filter(|r| r.storage && r.method == "GET").map(|r| r.range).collect()
}

#[test]
fn a_file_lands_in_the_shared_cache_and_is_found_again() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let mut settings = settings(&server, cache.path());
    settings.token = Some("hf_secret".into());
    let mut seen = Vec::new();
    let copy = fetch(&settings, &wanted("main"), &mut |transfer: Transfer| seen.push(transfer))?;
    assert_eq!(fs::read(&copy.path)?, weights());
    let digest = sha256_hex(&weights());
    assert_eq!((copy.commit.as_str(), copy.sha256.as_str(), copy.bytes), (COMMIT, digest.as_str(), 1_200_000));

    // The layout of Hugging Face's own libraries.
    let folder = "models--timm--resnet18.tv_in1k";
    let expected = [
        format!("{folder}/blobs/{digest}"),
        format!("{folder}/refs/main"),
        format!("{folder}/snapshots/{COMMIT}/{FILE}"),
    ];
    assert_eq!(below(cache.path()), expected);
    assert_eq!(fs::read_link(&copy.path)?, PathBuf::from(format!("../../blobs/{digest}")));
    assert_eq!(fs::read_to_string(cache.path().join(&expected[1]))?, COMMIT);

    // Progress begins at nothing, never goes back and ends at all.
    let done: Vec<u64> = seen.iter().map(|transfer| transfer.done).collect();
    assert!(done.is_sorted() && done.first() == Some(&0) && done.last() == Some(&1_200_000), "{done:?}");
    assert!(seen.iter().all(|transfer| transfer.total == 1_200_000));

    // The token is for the Hub, not for the storage that it redirects to.
    let log = server.log();
    assert!(log.iter().any(|r| r.storage) && log.iter().all(|r| r.token.is_some() != r.storage), "{log:?}");

    // A commit is read from the cache without a word to anybody; a branch is asked for, not fetched.
    assert_eq!(get(&settings, &wanted(COMMIT))?, copy);
    assert_eq!(server.log(), []);
    assert_eq!(get(&settings, &wanted("main"))?, copy);
    let log = server.log();
    assert!(log.len() == 1 && log[0].method == "HEAD", "{log:?}");
    Ok(())
}

#[test]
fn offline_only_the_cache_counts() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let online = settings(&server, cache.path());
    let offline = HubSettings { offline: true, ..online.clone() };
    let error = get(&offline, &wanted("main")).expect_err("nothing there");
    let text = error.to_string();
    assert!(matches!(error, HubError::Offline { .. }) && error.exit_code() == 2, "{text}");
    assert!([REPO, FILE, "main", "HF_HUB_OFFLINE", "fetch-weights"].iter().all(|word| text.contains(word)), "{text}");
    assert!(below(cache.path()).is_empty());

    let copy = get(&online, &wanted("main"))?;
    server.log();
    assert_eq!(get(&offline, &wanted("main"))?, copy);
    assert_eq!(get(&offline, &wanted(COMMIT))?, copy);
    assert_eq!(server.log(), []);

    // A damaged file of the cache is refused offline and fetched anew online.
    let blob = fs::canonicalize(&copy.path)?;
    let mut bytes = weights();
    bytes[77] ^= 1;
    fs::write(&blob, &bytes)?;
    let error = get(&offline, &wanted(COMMIT)).expect_err("damaged");
    assert!(matches!(error, HubError::Damaged { .. }) && error.exit_code() == 4, "{error}");
    assert_eq!(get(&online, &wanted(COMMIT))?, copy);
    assert_eq!(fs::read(&blob)?, weights());
    Ok(())
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    server.tricks(&[Trick::Cut(400_000), Trick::Cut(500_000)]);
    let copy = get(&settings(&server, cache.path()), &wanted("main"))?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert_eq!(ranges(&server.log()), [None, Some(400_000), Some(900_000)]);
    Ok(())
}

#[test]
fn another_process_goes_on_where_one_gave_up() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let hasty = HubSettings { retries: 0, ..settings(&server, cache.path()) };
    server.tricks(&[Trick::Cut(700_000)]);
    let error = get(&hasty, &wanted("main")).expect_err("cut");
    let text = error.to_string();
    assert!(matches!(error, HubError::Failed { attempts: 1, .. }) && error.exit_code() == 5, "{text}");
    assert!(text.contains(REPO) && text.contains("700000"), "{text}");
    assert!(names_without(cache.path(), "snapshots"));
    let mut first = None;
    let copy = fetch(&hasty, &wanted("main"), &mut |transfer| {
        first.get_or_insert(transfer.done);
    })?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert_eq!((first, ranges(&server.log())), (Some(700_000), vec![None, Some(700_000)]));
    assert!(names_without(cache.path(), "umt-part"));

    // What had come was damaged meanwhile: noticed, and fetched from the start.
    let other = tempfile::tempdir()?;
    let hasty = HubSettings { retries: 0, ..settings(&server, other.path()) };
    server.tricks(&[Trick::Cut(700_000)]);
    get(&hasty, &wanted("main")).expect_err("cut");
    let part = below(other.path()).into_iter().find(|name| name.ends_with("umt-part")).ok_or("no part")?;
    let mut bytes = fs::read(other.path().join(&part))?;
    bytes[1234] ^= 1;
    fs::write(other.path().join(&part), bytes)?;
    let copy = get(&hasty, &wanted("main"))?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert_eq!(ranges(&server.log()), [None, Some(700_000), None]);
    Ok(())
}

#[test]
fn a_server_may_ignore_the_range_or_say_too_much() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    server.tricks(&[Trick::Cut(300_000), Trick::WholeFile]);
    let copy = get(&settings(&server, cache.path()), &wanted("main"))?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert_eq!(ranges(&server.log()), [None, Some(300_000)]);

    let other = tempfile::tempdir()?;
    server.tricks(&[Trick::TooMuch]);
    let copy = get(&settings(&server, other.path()), &wanted("main"))?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert_eq!(ranges(&server.log()), [None, None]);
    Ok(())
}

#[test]
fn wrong_bytes_of_the_right_size_get_no_name() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let settings = settings(&server, cache.path());
    server.tricks(&[Trick::OtherBytes]);
    let error = get(&settings, &wanted("main")).expect_err("other bytes");
    let text = error.to_string();
    assert!(matches!(error, HubError::WrongBytes { .. }) && error.exit_code() == 6, "{text}");
    assert!(text.contains(REPO) && text.contains(&sha256_hex(&weights())), "{text}");
    assert_eq!(below(cache.path()), Vec::<String>::new());

    // The Hub's file is not the one that is pinned: known before anything is fetched.
    server.log();
    let pinned = HubFile { sha256: Some("0".repeat(64)), ..wanted("main") };
    let error = get(&settings, &pinned).expect_err("another file");
    assert!(matches!(error, HubError::WrongBytes { .. }), "{error}");
    assert!(server.log().iter().all(|request| !request.storage));
    let pinned = HubFile { sha256: Some(sha256_hex(&weights())), ..wanted("main") };
    assert_eq!(get(&settings, &pinned)?.bytes, 1_200_000);
    // A pinned digest is also asked of the cache.
    let pinned = HubFile { sha256: Some("0".repeat(64)), ..wanted(COMMIT) };
    let error = get(&HubSettings { offline: true, ..settings }, &pinned).expect_err("another file");
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");
    Ok(())
}

#[test]
fn a_small_file_needs_a_digest_of_its_own() -> Outcome {
    let (server, cache) = (Server::new(REPO, FILE, b"few bytes"), tempfile::tempdir()?);
    server.keep_small();
    let settings = settings(&server, cache.path());
    let error = get(&settings, &wanted("main")).expect_err("nothing to verify it by");
    assert!(matches!(error, HubError::Unverifiable { .. }) && error.to_string().contains("sha256"), "{error}");
    let pinned = HubFile { sha256: Some(sha256_hex(b"few bytes")), ..wanted("main") };
    let copy = get(&settings, &pinned)?;
    assert_eq!(fs::read(&copy.path)?, b"few bytes");
    assert_eq!(get(&HubSettings { offline: true, ..settings }, &pinned)?, copy);
    Ok(())
}

#[test]
fn refusals_say_what_to_do() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let mut settings = settings(&server, cache.path());
    for (file, missing) in [
        (HubFile { repo: "timm/resnet19".into(), ..wanted("main") }, "repository"),
        (wanted("v9"), "revision"),
        (HubFile { file: "weights.safetensors".into(), ..wanted("main") }, "file"),
    ] {
        let error = get(&settings, &file).expect_err(missing);
        let text = error.to_string();
        assert!(matches!(error, HubError::NotFound { .. }) && error.exit_code() == 2, "{text}");
        for word in [missing, &file.repo, &file.revision, &file.file] {
            assert!(text.contains(word), "no {word}: {text}");
        }
    }
    server.log();
    server.protect(REPO, "hf_good");
    let error = get(&settings, &wanted("main")).expect_err("no token");
    let text = error.to_string();
    assert!(matches!(error, HubError::Denied { status: 401, .. }) && error.exit_code() == 2, "{text}");
    assert!(text.contains("HF_TOKEN") && text.contains(REPO), "{text}");
    assert_eq!(server.log().len(), 1, "a refusal is not asked for again");
    settings.token = Some("hf_good".into());
    assert!(!format!("{settings:?}").contains("hf_good"));
    assert_eq!(fs::read(get(&settings, &wanted("main"))?.path)?, weights());
    Ok(())
}

#[test]
fn a_server_in_trouble_is_asked_again_and_then_named() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let settings = settings(&server, cache.path());
    server.tricks(&[Trick::HubStatus(503), Trick::HubStatus(429), Trick::Status(500), Trick::Cut(0)]);
    assert_eq!(fs::read(get(&settings, &wanted("main"))?.path)?, weights());
    let other = tempfile::tempdir()?;
    let settings = HubSettings { cache: other.path().to_path_buf(), ..settings };
    server.tricks(&vec![Trick::HubStatus(502); 3]);
    let error = get(&settings, &wanted("main")).expect_err("three times");
    let text = error.to_string();
    assert!(matches!(error, HubError::Failed { attempts: 3, .. }) && error.exit_code() == 5, "{text}");
    assert!(text.contains("502") && text.contains(&server.address) && text.contains(REPO), "{text}");

    // Nobody there at all.
    let nobody = HubSettings { endpoint: "http://127.0.0.1:9".into(), ..settings };
    let error = get(&nobody, &wanted("main")).expect_err("nobody");
    assert!(matches!(error, HubError::Failed { .. }) && error.to_string().contains("127.0.0.1"), "{error}");
    Ok(())
}

#[test]
fn a_slow_or_silent_server_is_given_up() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let settings = HubSettings { retries: 1, patience: Duration::from_millis(150), ..settings(&server, cache.path()) };
    let drip = Trick::Drip(Duration::from_millis(10));
    for (trick, said) in [(drip, "bytes in"), (Trick::Silence(Duration::from_secs(3)), "timeout")] {
        server.tricks(&[trick.clone(), trick]);
        let begun = Instant::now();
        let error = get(&settings, &wanted("main")).expect_err("too slow");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let text = error.to_string();
        assert!(matches!(error, HubError::Failed { attempts: 2, .. }) && text.contains(said), "{text}");
        assert!(names_without(cache.path(), "snapshots"));
    }
    // What had dripped in counts.
    server.log();
    assert_eq!(fs::read(get(&settings, &wanted("main"))?.path)?, weights());
    assert!(ranges(&server.log())[0].is_some_and(|start| start > 0));
    Ok(())
}

#[test]
fn a_renamed_repository_is_followed() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    server.rename("old/name", REPO);
    let file = HubFile { repo: "old/name".into(), ..wanted("main") };
    let copy = get(&settings(&server, cache.path()), &file)?;
    assert_eq!(fs::read(&copy.path)?, weights());
    assert!(copy.path.display().to_string().contains("models--old--name"));
    Ok(())
}

#[test]
fn names_lead_nowhere_else() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let settings = settings(&server, cache.path());
    let from = |repo: &str, revision: &str, file: &str| HubFile {
        repo: repo.into(),
        revision: revision.into(),
        file: file.into(),
        sha256: None,
    };
    for file in [
        from("resnet18", "main", FILE),
        from("../up/name", "main", FILE),
        from("a/..", "main", FILE),
        from("a/b c", "main", FILE),
        from("a/b?x=1", "main", FILE),
        from(REPO, "../../x", FILE),
        from(REPO, "", FILE),
        from(REPO, "main", "../../../etc/passwd"),
        from(REPO, "main", "/etc/passwd"),
        HubFile { sha256: Some("ABC".into()), ..wanted("main") },
    ] {
        let error = get(&settings, &file).expect_err("a name");
        assert!(matches!(error, HubError::Name { .. }) && error.exit_code() == 2, "{error}");
    }
    assert_eq!(server.log(), []);
    // An etag becomes a file's name, too.
    server.set_etag("../../../evil");
    let error = get(&settings, &wanted("main")).expect_err("an etag");
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    assert!(below(cache.path()).is_empty());
    Ok(())
}

#[test]
fn of_many_at_once_one_fetches() -> Outcome {
    let (server, cache) = (server(), tempfile::tempdir()?);
    let settings = settings(&server, cache.path());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| get(&settings, &wanted("main")).map(|c| c.sha256))).collect();
        for one in all {
            let digest = one.join().expect("a thread").expect("a file");
            assert_eq!(digest, sha256_hex(&weights()));
        }
    });
    assert_eq!(ranges(&server.log()).len(), 1);
    Ok(())
}
