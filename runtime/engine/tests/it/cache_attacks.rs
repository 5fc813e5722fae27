//! Attacks on the compiled cache as data, `tests/data/hostile/cache.toml`: nothing is loaded but what this host wrote, what was refused is
//! gone, and the next compilation serves again.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_engine::{Admitted, Engine, Error};
use bulkhead_model::Digest;
use serde::Deserialize;

use crate::guests::hostile;
use crate::host::{Host, config, facts};

/// Longest that one load may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Fewer cases than this would be a suite that somebody cut.
const CASES_MIN: usize = 43;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// What is done to a good entry, in this order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// What it is replaced with.
    from: Option<From>,
    /// The whole entry as text.
    text: Option<String>,
    /// The lowest bit of these bytes; from the end if it is negative.
    #[serde(default)]
    flip: Vec<i64>,
    /// A text in it and the text in its place.
    replace: Option<(String, String)>,
    /// How many bytes stay; so many fewer if it is negative.
    keep: Option<i64>,
    /// Zeros before it.
    #[serde(default)]
    prepend_zeros: usize,
    /// Bytes behind it, in hexadecimal digits that are all zero.
    #[serde(default)]
    append: String,
    /// Its length afterwards; what is added takes no room on the disk.
    grow_to: Option<u64>,
    /// What stands in its place.
    place: Option<Place>,
    /// What happens to the folder before the engine starts again.
    folder: Option<Folder>,
    loads: Loads,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    AnotherComponent,
    AnotherHost,
    OtherFacts,
    AnotherMac,
    SameAgain,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Nothing,
    Link,
    DanglingLink,
    LinkToZero,
    HardLink,
    Folder,
    Pipe,
    Socket,
    AnotherEngine,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Folder {
    #[serde(rename = "mode-0750")]
    Mode0750,
    #[serde(rename = "mode-0701")]
    Mode0701,
    #[serde(rename = "mode-1777")]
    Mode1777,
    Link,
    File,
    Litter,
}

/// What a load answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Loads {
    Good,
    /// It was not written by this host for this component; it is deleted.
    Mismatch,
    NotCompiled,
    /// It cannot be read at all.
    Refused,
    /// The engine does not start.
    NoStart,
}

#[tokio::test]
async fn every_attack_on_the_compiled_cache_is_noticed() {
    let file: File = toml::from_str(include_str!("../data/hostile/cache.toml")).unwrap();
    assert!(file.case.len() >= CASES_MIN, "{} cases", file.case.len());

    let mut wrong = Vec::new();
    for case in &file.case {
        let found = check(case).await;
        if found != case.loads {
            wrong.push(format!("{}: wanted {:?}, found {found:?}", case.name, case.loads));
        }
    }

    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), file.case.len(), wrong.join("\n"));
}

async fn check(case: &Case) -> Loads {
    let host = Host::new();
    let bytes = hostile("echo");
    let digest = Digest::of(&bytes);
    host.engine.compile(&digest, &facts(), &bytes).await.unwrap();
    let entry = entries(&host).pop().unwrap();
    change(case, &host, &entry, digest).await;
    let Some(engine) = started(case, &host) else { return Loads::NoStart };

    let begun = Instant::now();
    let found = load(&engine, digest);

    assert!(begun.elapsed() < DEADLINE, "{}: it took {:?}", case.name, begun.elapsed());
    if found == Loads::Mismatch {
        assert!(fs::symlink_metadata(&entry).is_err(), "{}: what was refused is still there", case.name);
    }
    if found != Loads::Refused {
        engine.compile(&digest, &facts(), &bytes).await.unwrap();
        assert_eq!(load(&engine, digest), Loads::Good, "{}: compiled again", case.name);
    }
    found
}

fn load(engine: &Engine, digest: Digest) -> Loads {
    match engine.load(Admitted::new(digest, facts())) {
        Ok(_) => Loads::Good,
        Err(Error::CacheMismatch(_)) => Loads::Mismatch,
        Err(Error::NotCompiled(_)) => Loads::NotCompiled,
        Err(Error::Cache { .. }) => Loads::Refused,
        Err(other) => panic!("{other}"),
    }
}

fn entries(host: &Host) -> Vec<PathBuf> {
    fs::read_dir(host.folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn change(case: &Case, host: &Host, entry: &Path, digest: Digest) {
    let mut bytes = fs::read(entry).unwrap();
    if let Some(from) = case.from {
        bytes = elsewhere(from, host, entry, digest).await;
    }
    if let Some(text) = &case.text {
        bytes = text.clone().into_bytes();
    }
    let at = |index: i64, length: usize| {
        let length = i64::try_from(length).unwrap();
        usize::try_from(if index < 0 { length + index } else { index }).unwrap()
    };
    for index in &case.flip {
        let at = at(*index, bytes.len());
        bytes[at] ^= 1;
    }
    if let Some((from, to)) = &case.replace {
        let place = bytes.windows(from.len()).position(|window| window == from.as_bytes());
        let place = place.unwrap_or_else(|| panic!("{}: there is no `{from}` in an entry", case.name));
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    if let Some(keep) = case.keep {
        bytes.truncate(at(keep, bytes.len()));
    }
    let mut whole = vec![0; case.prepend_zeros];
    whole.extend_from_slice(&bytes);
    whole.extend(std::iter::repeat_n(0, case.append.len() / 2));
    fs::write(entry, whole).unwrap();
    if let Some(length) = case.grow_to {
        fs::OpenOptions::new().write(true).open(entry).unwrap().set_len(length).unwrap();
    }
    if let Some(place) = case.place {
        stand_in(place, host, entry);
    }
}

/// The bytes of an entry that is good for something else.
async fn elsewhere(from: From, host: &Host, entry: &Path, digest: Digest) -> Vec<u8> {
    let mine = fs::read(entry).unwrap();
    let other = hostile("panic");
    match from {
        From::AnotherComponent | From::AnotherMac => {
            host.engine.compile(&Digest::of(&other), &facts(), &other).await.unwrap();
            let path = entries(host).into_iter().find(|path| path != entry).unwrap();
            let theirs = fs::read(path).unwrap();
            let mac = theirs[theirs.len() - 32..].to_vec();
            if matches!(from, From::AnotherMac) { [&mine[..mine.len() - 32], &mac[..]].concat() } else { theirs }
        }
        From::AnotherHost => {
            let stranger = Host::with(|config| config.cache_key = [8; 32]);
            stranger.engine.compile(&digest, &facts(), &hostile("echo")).await.unwrap();
            fs::read(entries(&stranger).pop().unwrap()).unwrap()
        }
        From::OtherFacts => {
            host.engine.compile(&digest, &Digest::of(b"other facts"), &hostile("echo")).await.unwrap();
            fs::read(entry).unwrap()
        }
        From::SameAgain => {
            host.engine.compile(&digest, &facts(), &hostile("echo")).await.unwrap();
            fs::read(entry).unwrap()
        }
    }
}

fn stand_in(place: Place, host: &Host, entry: &Path) {
    let moved = host.folder.path().join("moved");
    fs::rename(entry, &moved).unwrap();
    match place {
        Place::Nothing => {}
        Place::Link => symlink(&moved, entry).unwrap(),
        Place::DanglingLink => symlink(host.folder.path().join("nowhere"), entry).unwrap(),
        Place::LinkToZero => symlink("/dev/zero", entry).unwrap(),
        Place::HardLink => fs::hard_link(&moved, entry).unwrap(),
        Place::Folder => fs::create_dir(entry).unwrap(),
        Place::Pipe => {
            rustix::fs::mknodat(rustix::fs::CWD, entry, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        }
        Place::Socket => drop(bind(entry)),
        Place::AnotherEngine => {
            let name = entry.file_name().unwrap().to_str().unwrap();
            let (component, _) = name.split_once('-').unwrap();
            fs::rename(&moved, entry.with_file_name(format!("{component}-{}.cwasm", "0".repeat(64)))).unwrap();
        }
    }
}

/// A socket at `path`, by a name that is short enough for one.
fn bind(path: &Path) -> UnixListener {
    let short = tempfile::Builder::new().prefix("s").tempdir_in("/tmp").unwrap();
    let link = short.path().join("c");
    symlink(path.parent().unwrap(), &link).unwrap();
    let listener = UnixListener::bind(short.path().join("s")).unwrap();
    fs::rename(short.path().join("s"), path).unwrap();
    listener
}

/// The engine that loads: the one that wrote, or another one after its folder was changed.
fn started(case: &Case, host: &Host) -> Option<Engine> {
    let path = host.folder.path().join("cache");
    let mode = |mode: u32| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    match case.folder {
        None => {}
        Some(Folder::Mode0750) => mode(0o750),
        Some(Folder::Mode0701) => mode(0o701),
        Some(Folder::Mode1777) => mode(0o1777),
        Some(Folder::Link) => {
            fs::rename(&path, path.with_file_name("real")).unwrap();
            symlink(path.with_file_name("real"), &path).unwrap();
        }
        Some(Folder::File) => {
            fs::rename(&path, path.with_file_name("real")).unwrap();
            fs::File::create(&path).unwrap().write_all(b"cache").unwrap();
        }
        Some(Folder::Litter) => {
            fs::write(path.join("x.cwasm"), b"x").unwrap();
            fs::write(path.join("0.new"), b"x").unwrap();
            fs::create_dir(path.join("folder")).unwrap();
        }
    }
    match Engine::new(config(&host.folder)) {
        Ok(engine) => Some(engine),
        Err(Error::CacheDirectory { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}
