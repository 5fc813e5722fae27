//! A full small application: notes of a tenant, with tags, pages, search and attachments. This file is its HTTP
//! face; it checks no permission, for the host did so before it called.

mod attachments;
mod draft;
mod list;
mod store;

use bulkhead_sdk::{
    Context, Health, Lifecycle, PluginError, Report, Request, Response, Routes, authz, config, kv, log, sql, time,
};
use serde::{Deserialize, Serialize};

use draft::{Change, Draft};
use list::{Cursor, Search};
use store::Note;

/// Key of the counter of notes ever written.
const WRITTEN: &str = "notes/written";
/// Key of the counter of notes deleted.
const DELETED: &str = "notes/deleted";

/// The plugin.
pub struct Notes;

bulkhead_sdk::plugin!(Notes: routes, lifecycle, health);

impl Routes for Notes {
    fn handle(ctx: &Context, request: &Request) -> Result<Response, PluginError> {
        match (request.method.as_str(), request.route.as_str()) {
            ("GET", "/notes") => list_notes(request),
            ("POST", "/notes") => write_note(ctx, request),
            ("GET", "/notes/{id}") => read_note(request),
            ("PUT", "/notes/{id}") => change_note(request),
            ("DELETE", "/notes/{id}") => delete_note(request),
            ("GET", "/notes/{id}/attachments") => attachments::list(request),
            ("POST", "/notes/{id}/attachments/{name}") => attachments::write(request),
            ("GET", "/notes/{id}/attachments/{name}") => attachments::read(request),
            ("DELETE", "/notes/{id}/attachments/{name}") => attachments::delete(request),
            ("GET", "/tags") => Response::json(&store::tags()?),
            ("GET", "/stats") => stats(),
            _ => Err(PluginError::not_found("no such route")),
        }
    }
}

impl Lifecycle for Notes {
    fn init(ctx: &Context) -> Result<(), PluginError> {
        let Config { page_size } = config::get()?;
        log::info!("notes are open", tenant.id = ctx.tenant, page.size = page_size);
        Ok(())
    }
}

impl Health for Notes {
    fn check(_ctx: &Context) -> Report {
        match store::count() {
            Ok(notes) => Report::healthy().detail("notes", notes.to_string()),
            Err(error) => Report::unhealthy(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    page_size: u32,
}

/// A note as its reader sees it.
#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    note: Note,
    tags: Vec<String>,
    is_editable: bool,
}

#[derive(Serialize)]
struct Page {
    items: Vec<View>,
    next_cursor: Option<Cursor>,
}

#[derive(Serialize)]
struct Stats {
    notes: i64,
    written: i64,
    deleted: i64,
}

fn list_notes(request: &Request) -> Result<Response, PluginError> {
    let Config { page_size } = config::get()?;
    let search = Search::of(request, page_size)?;

    let (notes, has_more) = store::list(&search)?;
    let next_cursor = notes.last().filter(|_| has_more).map(Cursor::after);
    let mut tags = store::tags_of_all(&notes)?;
    let is_editable = authz::has("notes.edit");
    let view = |note: Note| View { tags: tags.remove(&note.id).unwrap_or_default(), note, is_editable };
    Response::json(&Page { items: notes.into_iter().map(view).collect(), next_cursor })
}

fn write_note(ctx: &Context, request: &Request) -> Result<Response, PluginError> {
    let draft = request.json::<Draft>()?.checked()?;

    let note = Note::new(&draft, ctx.user_or("nobody"), time::now_us());
    sql::transaction(|tx| store::insert(tx, &note, &draft.tags))?;
    kv::increment(WRITTEN, 1)?;

    log::info!("note written", note.id = note.id, note.tag_count = draft.tags.len());
    let location = format!("notes/{}", note.id);
    let view = View { note, tags: draft.tags, is_editable: true };
    Ok(Response::json(&view)?.status(201).header("location", &location))
}

fn read_note(request: &Request) -> Result<Response, PluginError> {
    let note = store::find(request.param("id")?)?.ok_or_else(no_such_note)?;
    let tags = store::tags_of(&note.id)?;
    Response::json(&View { note, tags, is_editable: authz::has("notes.edit") })
}

fn change_note(request: &Request) -> Result<Response, PluginError> {
    let id = request.param("id")?;
    let Change { revision, draft } = request.json()?;
    let draft = draft.checked()?;

    let note = sql::transaction(|tx| match store::update(tx, id, revision, &draft, time::now_us())? {
        Some(note) => Ok(note),
        None if store::find_in(tx, id)?.is_some() => {
            Err(PluginError::conflict("the note was changed in the meantime: read it again"))
        }
        None => Err(no_such_note()),
    })?;

    log::info!("note changed", note.id = id, note.revision = note.revision);
    Response::json(&View { note, tags: draft.tags, is_editable: true })
}

fn delete_note(request: &Request) -> Result<Response, PluginError> {
    let id = request.param("id")?;
    store::find(id)?.ok_or_else(no_such_note)?;
    // Before the note: what fails in between can be done again.
    attachments::delete_all(id)?;
    if !store::delete(id)? {
        return Err(no_such_note());
    }
    kv::increment(DELETED, 1)?;
    log::info!("note deleted", note.id = id);
    Ok(Response::empty(204))
}

fn stats() -> Result<Response, PluginError> {
    let stats = Stats { notes: store::count()?, written: kv::counter(WRITTEN)?, deleted: kv::counter(DELETED)? };
    Response::json(&stats)
}

fn no_such_note() -> PluginError {
    PluginError::not_found("no such note")
}

#[cfg(test)]
mod tests;
