//! Greets by name, and remembers whom. It checks no permission: the host did so before it called.

use bulkhead_sdk::{
    Context, FromRow, Health, PluginError, Report, Request, Response, Routes, config, log, params,
    sql,
};
use serde::{Deserialize, Serialize};

/// The plugin. Its state is in its tables: an instance may be gone after any call.
pub struct Greeter;

bulkhead_sdk::plugin!(Greeter: routes, health);

impl Routes for Greeter {
    fn handle(_ctx: &Context, request: &Request) -> Result<Response, PluginError> {
        match (request.method.as_str(), request.route.as_str()) {
            ("POST", "/greetings/{name}") => greet(request.param("name")?),
            ("GET", "/greetings") => list(),
            _ => Err(PluginError::not_found("no such route")),
        }
    }
}

impl Health for Greeter {
    fn check(_ctx: &Context) -> Report {
        match sql::query("SELECT count(*) FROM greetings", params![]) {
            Ok(_) => Report::healthy(),
            Err(error) => Report::unhealthy(error.to_string()),
        }
    }
}

/// What a tenant's admin can set: `config.schema.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "hello")]
    word: String,
}

fn hello() -> String {
    "Hello".to_owned()
}

#[derive(Serialize)]
struct Greeting {
    message: String,
    count: i64,
}

#[derive(Serialize, FromRow)]
struct Greeted {
    name: String,
    greeting_count: i64,
}

fn greet(name: &str) -> Result<Response, PluginError> {
    const COUNT: &str = "INSERT INTO greetings (name, greeting_count) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET greeting_count = greetings.greeting_count + 1
        RETURNING greeting_count";

    let Config { word } = config::get()?;
    let count = sql::execute(COUNT, params![name])?.scalar()?;
    log::info!("greeted", greeting.count = count);
    Response::json(&Greeting { message: format!("{word}, {name}!"), count })
}

fn list() -> Result<Response, PluginError> {
    const LIST: &str = "SELECT name, greeting_count FROM greetings ORDER BY name LIMIT 100";

    let greeted: Vec<Greeted> = sql::query(LIST, params![])?.all()?;
    Response::json(&greeted)
}

#[cfg(test)]
mod tests;
