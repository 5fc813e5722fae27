//! The smallest plugin that uses each part of a plugin once: routes, a filter, configuration, a
//! table, health. It checks no permission: the host did so before it called.

use bulkhead_sdk::{
    Context, Health, Hooks, JsonText, PluginError, Report, Request, Response, Routes, StorageError, config, log,
    params, sql, time,
};
use serde::{Deserialize, Serialize};

/// The plugin.
pub struct Hello;

bulkhead_sdk::plugin!(Hello: routes, hooks, health);

impl Routes for Hello {
    fn handle(ctx: &Context, request: &Request) -> Result<Response, PluginError> {
        match request.route.as_str() {
            "/hello" => hello(ctx),
            "/visits" => visit(ctx),
            _ => Err(PluginError::not_found("no such route")),
        }
    }
}

impl Hooks for Hello {
    /// `demo.greeting` is a name; its greeting goes on.
    fn apply_filter(
        _ctx: &Context,
        name: &str,
        value: &JsonText,
        _args: &JsonText,
    ) -> Result<Option<JsonText>, PluginError> {
        match name {
            "demo.greeting" => JsonText::of(&greet(&value.parse::<String>()?)?).map(Some),
            _ => Ok(None),
        }
    }
}

impl Health for Hello {
    fn check(_ctx: &Context) -> Report {
        match visits_of_all() {
            Ok(visits) => Report::healthy().detail("visits", visits.to_string()),
            Err(error) => Report::unhealthy(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    greeting: String,
}

#[derive(Serialize)]
struct Greeting {
    message: String,
}

#[derive(Serialize)]
struct Visits<'a> {
    visitor: &'a str,
    count: i64,
    total: i64,
}

fn hello(ctx: &Context) -> Result<Response, PluginError> {
    Response::json(&Greeting { message: greet(visitor(ctx))? })
}

fn greet(name: &str) -> Result<String, PluginError> {
    let Config { greeting } = config::get()?;
    Ok(format!("{greeting}, {name}!"))
}

/// Counts this visit, and tells the visitor's own and everybody's.
fn visit(ctx: &Context) -> Result<Response, PluginError> {
    const COUNT: &str = "INSERT INTO visits (visitor, visit_count, last_visit_at) VALUES ($1, 1, $2)
        ON CONFLICT (visitor) DO UPDATE
        SET visit_count = visits.visit_count + 1, last_visit_at = excluded.last_visit_at
        RETURNING visit_count";

    let visitor = visitor(ctx);
    let count = sql::execute(COUNT, params![visitor, time::now_us()])?.scalar()?;
    log::info!("visit counted", visit.count = count);
    Response::json(&Visits { visitor, count, total: visits_of_all()? })
}

fn visits_of_all() -> Result<i64, StorageError> {
    const TOTAL: &str = "SELECT CAST(COALESCE(SUM(visit_count), 0) AS bigint) AS total FROM visits";

    sql::query(TOTAL, params![])?.scalar()
}

fn visitor(ctx: &Context) -> &str {
    ctx.user_or("stranger")
}

#[cfg(test)]
mod tests;
