//! Lists of data sets, and the cache of decoded samples.

use crate::targets::Target;
use std::{cell::RefCell, fs, path::PathBuf};
use umt_data::{Cache, CheckOptions, DataConfig, Dataset, check_with, open};
use umt_store::Store;

/// All of them.
pub const DATA: &[Target] = &[
    Target { name: "manifest", seeds: manifests, read: |bytes| looked_at("manifest", bytes) },
    Target { name: "vggsound-list", seeds: lists, read: |bytes| looked_at("vggsound", bytes) },
    Target {
        name: "shard",
        seeds: || vec![("small".to_owned(), CACHE.with_borrow(|cache| cache.whole.clone()))],
        read: cached,
    },
];

fn texts(texts: &[&str]) -> Vec<(String, Vec<u8>)> {
    texts.iter().enumerate().map(|(i, text)| (format!("{i}"), text.as_bytes().to_vec())).collect()
}

fn manifests() -> Vec<(String, Vec<u8>)> {
    texts(&[
        "id,label,split,audio,video,group:speaker\na,yes,train,a.wav,frames/a,anna\nb,no,test,b.wav,frames/b,\n",
        "\u{feff}id,label,split,audio\r\na,\"with, comma\",train,a.wav\r\n\r\nb,\"two\r\nlines\",test,\r\na,x,val,c.wav\r\n",
        "id,label,split,video\ra,x,train,a.mp4\rb,\"a \"\"quote\"\"\",test,b.mp4",
    ])
}

fn lists() -> Vec<(String, Vec<u8>)> {
    texts(&["-0a,30,\"people slapping, laughing\",train\n_b-,0,dog,test\n", "a,1,x,train\r\na,2,y,test\r\n"])
}

/// Whether a list is read, its defects collected; without its files, which are not there.
fn looked_at(set: &str, bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.csv");
    fs::write(&list, bytes).unwrap();
    let quick = CheckOptions { decode: false, threads: 1, ..CheckOptions::default() };
    check_with(Some(&list), set, &quick, &mut |_| {}).is_ok_and(|report| report.samples > 0)
}

/// A cache on disk whose bytes are replaced.
struct Small {
    _folder: tempfile::TempDir,
    store: Store,
    set: Dataset,
    config: DataConfig,
    shard: PathBuf,
    whole: Vec<u8>,
}

thread_local! {
    static CACHE: RefCell<Small> = RefCell::new(small());
}

fn small() -> Small {
    let mut config = DataConfig { video: None, decode_threads: 1, ..DataConfig::synthetic_av() };
    (config.synthetic.train, config.synthetic.test) = (2, 1);
    let set = open("synthetic-av", None, &config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    Cache::build(&set, &config, folder.path(), &mut |_| {}, &store).unwrap();
    let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let shard = files.find(|path| path.extension().is_some_and(|end| end == "shard")).unwrap();
    let whole = fs::read(&shard).unwrap();
    Small { _folder: folder, store, set, config, shard, whole }
}

/// Whether the cache is believed; one that is not is made again, so that it is whole either way.
fn cached(bytes: &[u8]) -> bool {
    CACHE.with_borrow(|small| {
        fs::write(&small.shard, bytes).unwrap();
        let folder = small.store.root().to_owned();
        let cache = Cache::build(&small.set, &small.config, &folder, &mut |_| {}, &small.store).unwrap();
        assert!((0..3).all(|i| cache.get(i).is_ok()), "what is believed, or was made again, is read");
        cache.rebuilt().is_none()
    })
}
