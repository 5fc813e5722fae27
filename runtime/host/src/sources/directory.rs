//! Releases in folders that the operator names: an artifact with its bundles beside it, or an archive.
//! A path stays below its folder, also over symbolic links.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use bulkhead_model::Code;
use bulkhead_oci::layout::ARCHIVE_BYTES_MAX;

use super::{
    ARTIFACT_BYTES_MAX, BUNDLE_BYTES_MAX, BUNDLES_MAX, Sent, SourcesConfig, invalid, is_bundle_of, refused, unpack,
};
use crate::error::Error;

/// Entries of a folder that are looked at for bundles.
const ENTRIES_MAX: usize = 100_000;

/// The releases in the file at `path`.
pub(super) async fn fetch(config: &SourcesConfig, path: &str) -> Result<Vec<Sent>, Error> {
    if Path::new(path).extension().is_some_and(|extension| extension == "tar") {
        return unpack(&file(config, path, ARCHIVE_BYTES_MAX).await?);
    }
    let file = find(config, path)?;
    blocking(move || release(&file)).await.map(|sent| vec![sent])
}

/// The file at `path`.
pub(super) async fn file(config: &SourcesConfig, path: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let file = find(config, path)?;
    blocking(move || read(&file, bytes_max)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::NotServing("reading a file ended unexpectedly".to_owned())))
}

/// The file at `path` in the first folder that has it.
fn find(config: &SourcesConfig, path: &str) -> Result<PathBuf, Error> {
    if config.directories.is_empty() {
        return Err(invalid("/source/kind", "`sources.directories` names no folder: no file of this host is read"));
    }
    let relative = Path::new(path);
    let is_below = !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below || path.contains('\0') {
        return Err(invalid(
            "/source/path",
            "a path is relative to a folder of `sources.directories` and stays below it",
        ));
    }
    for folder in &config.directories {
        // Both are asked for their true place: a link may lead about in the folder, not out of it.
        let (Ok(folder), Ok(file)) = (folder.canonicalize(), folder.join(relative).canonicalize()) else { continue };
        if file.starts_with(&folder) && file.is_file() {
            return Ok(file);
        }
    }
    Err(Error::not_found("file in `sources.directories`:", path))
}

fn release(path: &Path) -> Result<Sent, Error> {
    let artifact = read(path, ARTIFACT_BYTES_MAX)?;
    let failed = |source| Error::File { path: path.display().to_string(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)?.take(ENTRIES_MAX) {
        let beside = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if is_bundle_of(&beside, &name) {
            names.push(beside);
        }
    }
    if names.len() > BUNDLES_MAX {
        return Err(refused(Code::TooLarge, format!("more than {BUNDLES_MAX} bundles are beside the artifact")));
    }
    names.sort();
    let bundles = names.iter().map(|name| read(&folder.join(name), BUNDLE_BYTES_MAX)).collect::<Result<_, _>>()?;
    Ok(Sent { artifact, bundles })
}

/// A regular file, not followed over a link that takes its place meanwhile.
fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused(Code::Malformed, "a bundle or artifact is no regular file"));
    }
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    std::fs::File::open(path).map_err(failed)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(refused(Code::TooLarge, format!("the file has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}
