//! Shows the configuration in force, with secrets masked.

use serde_json::Value;

use super::Config;

/// What stands in the place of a secret.
const MASK: &str = "***";

impl Config {
    /// Every value in force as JSON. The password in a database address is masked; keys are shown as paths.
    pub fn to_display_json(&self) -> Value {
        let mut shown = self.clone();
        shown.database.url = masked(&self.database.url);
        let mut value = serde_json::to_value(shown).unwrap_or_default();
        if let Some(plugins) = value.pointer_mut("/plugins").and_then(Value::as_object_mut) {
            plugins.insert("disabled".to_owned(), Value::from(self.plugins_disabled));
        }
        value
    }
}

/// The address without its password, wherever it stands.
fn masked(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let mut text = match address.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((user, host)) => format!("{scheme}://{}:{MASK}@{host}", user.split(':').next().unwrap_or_default()),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if name.contains("pass") => text.extend([name, "=", MASK]),
            Some(_) | None => text.push_str(pair),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(masked("postgres://bulkhead:s3cret@db/bulkhead"), "postgres://bulkhead:***@db/bulkhead");
        assert_eq!(
            masked("postgres://bulkhead:s3@cret@db/b?sslmode=require"),
            "postgres://bulkhead:***@db/b?sslmode=require"
        );
        assert_eq!(masked("postgres://db/b?user=u&password=s3cret"), "postgres://db/b?user=u&password=***");
        assert_eq!(masked("sqlite:data"), "sqlite:data");
    }
}
