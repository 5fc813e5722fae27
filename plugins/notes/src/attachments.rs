//! Files beside a note: blobs named `{note id}/{file name}`. A note id has no slash, so that no file of one note can
//! have the name of another's. It checks no permission; the host did.

use bulkhead_sdk::{PluginError, Request, Response, StorageError, blob, log};
use serde::Serialize;

use crate::{no_such_note, store};

/// Most files beside a note.
const FILES_MAX: u32 = 20;
/// Most bytes of a file: an answer of the host has no more.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of a file's name.
const NAME_BYTES_MAX: usize = 200;

/// A file as its reader sees it.
#[derive(Serialize)]
struct View {
    name: String,
    size: u64,
    sha256: String,
    media_type: String,
    modified_at: i64,
}

#[derive(Serialize)]
struct Files {
    items: Vec<View>,
}

pub(crate) fn list(request: &Request) -> Result<Response, PluginError> {
    let id = note_id(request)?;
    let items = files(id)?.into_iter().map(|info| view(id, info)).collect();
    Response::json(&Files { items })
}

pub(crate) fn write(request: &Request) -> Result<Response, PluginError> {
    let (id, name) = (note_id(request)?, file_name(request)?);
    let media_type = request.header("content-type").unwrap_or("application/octet-stream");
    let files = files(id)?;
    let is_new = files.iter().all(|info| info.name != blob_name(id, name));
    if is_new && files.len() >= usize::try_from(FILES_MAX).unwrap_or(usize::MAX) {
        return Err(PluginError::conflict("a note has at most 20 attachments"));
    }

    let written = blob::put(&blob_name(id, name), media_type, &request.body);
    let info = written.map_err(|error| match error {
        StorageError::Invalid(_) => PluginError::invalid_input("content-type: printable ASCII"),
        error => error.into(),
    })?;

    log::info!("attachment written", note.id = id, attachment.size_bytes = info.size);
    Ok(Response::json(&view(id, info))?.status(if is_new { 201 } else { 200 }))
}

pub(crate) fn read(request: &Request) -> Result<Response, PluginError> {
    let name = blob_name(note_id(request)?, file_name(request)?);
    let info = blob::stat(&name)?.ok_or_else(no_such_attachment)?;
    let bytes = blob::read_to_end(&name, FILE_BYTES_MAX)?.ok_or_else(no_such_attachment)?;
    // Whoever wrote it chose its type: a browser is to save it, not to show it.
    Ok(Response::bytes(&info.media_type, bytes).header("content-disposition", "attachment"))
}

pub(crate) fn delete(request: &Request) -> Result<Response, PluginError> {
    let id = note_id(request)?;
    if !blob::delete(&blob_name(id, file_name(request)?))? {
        return Err(no_such_attachment());
    }
    log::info!("attachment deleted", note.id = id);
    Ok(Response::empty(204))
}

/// Deletes all files beside a note.
pub(crate) fn delete_all(id: &str) -> Result<(), StorageError> {
    files(id)?.iter().try_for_each(|info| blob::delete(&info.name).map(|_| ()))
}

/// Two writers at once may leave one file more than there should be.
fn files(id: &str) -> Result<Vec<blob::Info>, StorageError> {
    Ok(blob::scan(&blob_name(id, ""), None, 2 * FILES_MAX)?.items)
}

fn note_id(request: &Request) -> Result<&str, PluginError> {
    let id = request.param("id")?;
    if store::find(id)?.is_some() { Ok(id) } else { Err(no_such_note()) }
}

fn file_name(request: &Request) -> Result<&str, PluginError> {
    let name = request.param("name")?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    if is_name { Ok(name) } else { Err(PluginError::invalid_input("name: 1 to 200 bytes without control characters")) }
}

fn blob_name(id: &str, name: &str) -> String {
    format!("{id}/{name}")
}

fn view(id: &str, info: blob::Info) -> View {
    let blob::Info { name, size, sha256, media_type, modified_at } = info;
    View {
        name: name.strip_prefix(&blob_name(id, "")).map_or(name.clone(), str::to_owned),
        size,
        sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        media_type,
        modified_at,
    }
}

fn no_such_attachment() -> PluginError {
    PluginError::not_found("no such attachment")
}

#[cfg(test)]
mod tests {
    use bulkhead_sdk::{Routes, mock};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::Notes;
    use crate::tests::{NOTE_COLUMNS, note};

    /// A host with the note `a`, which each of `requests` looks for once.
    fn host(requests: usize) -> mock::Host {
        let found = || mock::rows(NOTE_COLUMNS, [note("a", 1, 7)]);
        (0..requests).fold(mock::Host::new().with_now_us(5), |host, _| host.with_sql("FROM notes WHERE id", found()))
    }

    fn of(method: &str, name: &str) -> Request {
        let route = "/notes/{id}/attachments/{name}";
        Request::of(method, route).with_param("id", "a").with_param("name", name)
    }

    fn handle(host: &mock::Host, request: &Request) -> Result<Response, PluginError> {
        host.run(|| Notes::handle(&host.context(), request))
    }

    fn listed(host: &mock::Host) -> Json {
        let list = Request::get("/notes/{id}/attachments").with_param("id", "a");
        serde_json::from_slice(&handle(host, &list).unwrap().body).unwrap()
    }

    #[test]
    fn a_file_is_written_listed_read_and_deleted() {
        let host = host(7);
        let mut post = of("POST", "plan.svg").with_body("<svg/>");
        post.headers.push(("content-type".to_owned(), "image/svg+xml".to_owned()));

        assert_eq!(handle(&host, &post).unwrap().status, 201);
        assert_eq!(handle(&host, &post).unwrap().status, 200);
        let sha256 = "d4dc56669143034f31aa309635d4113d9ad76a02b1739da22c965ed2049be9e6";
        let wanted = json!({
            "name": "plan.svg", "size": 6, "sha256": sha256, "media_type": "image/svg+xml", "modified_at": 5
        });
        assert_eq!(listed(&host), json!({ "items": [wanted] }));
        let file = handle(&host, &of("GET", "plan.svg")).unwrap();
        assert_eq!(file.body, b"<svg/>");
        assert!(file.headers.contains(&("content-type".to_owned(), "image/svg+xml".to_owned())));
        assert!(file.headers.contains(&("content-disposition".to_owned(), "attachment".to_owned())));
        assert_eq!(handle(&host, &of("DELETE", "plan.svg")), Ok(Response::empty(204)));
        assert_eq!(handle(&host, &of("GET", "plan.svg")), Err(no_such_attachment()));
        assert_eq!(handle(&host, &of("DELETE", "plan.svg")), Err(no_such_attachment()));
    }

    #[test]
    fn a_note_that_is_not_there_has_no_files() {
        for method in ["POST", "GET", "DELETE"] {
            let host = mock::Host::new().with_sql("FROM notes WHERE id", mock::rows(NOTE_COLUMNS, []));
            assert_eq!(handle(&host, &of(method, "x")), Err(no_such_note()), "{method}");
        }
    }

    #[test]
    fn a_note_has_so_many_files_and_takes_them_along() {
        let host = host(23)
            .with_sql("DELETE FROM note_tags", mock::affected(0))
            .with_sql("DELETE FROM notes", mock::affected(1));
        for number in 0..20 {
            handle(&host, &of("POST", &format!("f{number}"))).unwrap();
        }

        let error = handle(&host, &of("POST", "one more")).unwrap_err();
        assert!(matches!(error, PluginError::Conflict(_)), "{error}");
        assert_eq!(handle(&host, &of("POST", "f7")).unwrap().status, 200);
        handle(&host, &Request::of("DELETE", "/notes/{id}").with_param("id", "a")).unwrap();
        assert_eq!(host.run(|| blob::scan("", None, 100)).unwrap().items, []);
    }

    #[test]
    fn names_and_media_types_that_cannot_be_kept_are_the_callers_mistake() {
        for name in ["", "a\nb", &"n".repeat(201)] {
            let refused = handle(&host(1), &of("POST", name));
            assert!(matches!(refused, Err(PluginError::InvalidInput(_))), "{name:?} {refused:?}");
        }
        let mut post = of("POST", "x");
        post.headers.push(("content-type".to_owned(), "téxt".to_owned()));
        assert_eq!(handle(&host(1), &post), Err(PluginError::invalid_input("content-type: printable ASCII")));
        handle(&host(1), &of("POST", "../../etc/passwd")).unwrap();
    }
}
