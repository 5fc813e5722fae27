//! The `bulkhead` binary from an empty folder to a call, its exit codes, and its output for programs.

use std::path::Path;

use bulkhead_testkit::binary::{Bulkhead, Served};
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::keys::{ALICE, BOB, CAROL, MALLORY};
use bulkhead_testkit::policies::signed_by;
use bulkhead_testkit::{Client, Key, Release};
use bulkhead_trust::SigningKey;
use serde_json::json;

/// A folder with `bulkhead init` in it, and its host.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    served: Served,
    bulkhead: Bulkhead,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bulkhead = Bulkhead::at(folder.path()).env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0");
        bulkhead.run(["init"]).expect(0);
        let served = bulkhead.serve(["--listen", "127.0.0.1:0"]);
        let bulkhead = bulkhead.env("BULKHEAD_SERVER", served.base());
        Self { folder, served, bulkhead }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn token(&self, role: &str) -> String {
        std::fs::read_to_string(self.path("tokens").join(format!("{role}.token"))).unwrap().trim().to_owned()
    }

    /// The binary with the platform admin's token.
    pub(crate) fn admin(&self) -> Bulkhead {
        self.bulkhead.clone().env("BULKHEAD_TOKEN", &self.token("super_admin"))
    }

    /// Writes a release as an author's tools do.
    pub(crate) fn place(&self, name: &str, release: &Release) {
        std::fs::write(self.path(&format!("{name}.wasm")), &release.bytes).unwrap();
        for (number, bundle) in (1..).zip(&release.bundles) {
            std::fs::write(self.path(&format!("{name}.{number}.sigstore.json")), bundle).unwrap();
        }
    }

    /// Allows what one key signs.
    fn allow(&self, key: Key) {
        let policy = format!(
            "version = 2\nexpires = \"2199-01-01T00:00:00Z\"\n[[principal]]\nname = \"author\"\nkeys = [\"{}\"]\n[[allow]]\nid = \"acme\"\n\
            plugin = \"acme.*\"\nsigners = [{{ role = \"author\", of = [\"author\"], threshold = 1 }}]\ntenants = [\"*\"]\n\
            [allow.ceiling]\ninterfaces = [\"bulkhead:plugin/sql\"]\n",
            key.verifying()
        );
        std::fs::write(self.path("policy.toml"), policy).unwrap();
        self.bulkhead
            .run(["policy", "install", "policy.toml", "--key", "keys/root.key.pem", "--token", &self.token("security")])
            .expect(0);
    }

    /// Installs a policy text of the testkit.
    pub(crate) async fn put_policy(&self, version: u64, text: &str) {
        let root = SigningKey::from_pem(&std::fs::read_to_string(self.path("keys/root.key.pem")).unwrap()).unwrap();
        let envelope = signed_by(&root, version, text);
        self.client(&self.token("security")).put_policy(&envelope).await.expect(200);
    }

    pub(crate) fn client(&self, token: &str) -> Client {
        self.served.client(token)
    }
}

#[tokio::test]
async fn from_an_empty_folder_to_a_call() {
    let stage = Stage::new();
    let admin = stage.admin();
    std::fs::write(stage.path("alice.key.pem"), ALICE.private_pem()).unwrap();
    let release = HELLO.source().pack();
    stage.place("hello-0.1.0", &release);

    stage.allow(ALICE);
    stage.bulkhead.run(["sign", "hello-0.1.0.wasm", "--key", "alice.key.pem"]).expect(0);
    stage.bulkhead.run(["verify", "hello-0.1.0.wasm", "--policy", "policy.toml"]).expect(0);
    let published = admin.run(["publish", "hello-0.1.0.wasm", "--json"]).expect(0).json();
    admin.run(["plugin", "install", "acme.hello@0.1.0"]).expect(0);
    admin.run(["tenant", "create", "globex"]).expect(0);
    admin.run(["tenant-plugin", "enable", "acme.hello", "--tenant", "globex"]).expect(0);
    let token = stage
        .bulkhead
        .run([
            "token",
            "issue",
            "--sub",
            "ada",
            "--role",
            "member",
            "--tenant",
            "globex",
            "--permission",
            "acme.hello.hello.greet",
        ])
        .expect(0)
        .stdout;

    assert_eq!(published["id"], "acme.hello");
    let greeting = stage.client(token.trim()).get_route("acme.hello", "/hello").await.expect(200).json();
    assert_eq!(greeting, json!({ "message": "Hello, ada!" }));
    let listed = admin.run(["plugin", "list", "--json"]).expect(0).json();
    assert_eq!(listed["items"][0]["status"], "active");
    let used = admin.run(["plugin", "usage", "acme.hello", "--tenant", "globex", "--json"]).expect(0).json();
    assert!(used["items"][0]["fuel_units"].as_u64().unwrap() > 0, "{used}");
    assert_eq!(stage.served.end(), Some(0));
}

#[tokio::test]
async fn one_command_publishes_and_installs() {
    let stage = Stage::new();
    stage.allow(ALICE);
    stage.place("hello-0.1.0", &HELLO.signed_by(ALICE));

    stage.admin().run(["plugin", "install", "hello-0.1.0.wasm"]).expect(0);

    let shown = stage.admin().run(["plugin", "show", "acme.hello", "--json"]).expect(0).json();
    assert_eq!(shown["status"], "installed");
}

#[tokio::test]
async fn exit_codes_say_what_went_wrong() {
    let stage = Stage::new();
    let admin = stage.admin();
    stage.place("unsigned", &HELLO.source().pack());
    stage.place("foreign", &HELLO.signed_by(MALLORY));

    admin.run(["publish", "unsigned.wasm"]).expect(3);
    let foreign = admin.run(["plugin", "install", "foreign.wasm", "--json"]).expect(3);
    admin.run(["plugin", "show", "acme.nothing"]).expect(4);
    admin.run(["tenant-plugin", "enable", "acme.nothing", "--tenant", "globex"]).expect(4);
    admin.run(["plugin", "list", "--server", "http://127.0.0.1:1"]).expect(5);
    admin.run(["plugin", "list", "--nonsense"]).expect(2);
    admin.run(["nonsense"]).expect(2);
    admin.run(["publish", "missing.wasm"]).expect(4);
    stage.bulkhead.run(["plugin", "list"]).expect(1);
    stage.bulkhead.run(["plugin", "list", "--token", "x"]).expect(1);

    assert!(format!("{}{}", foreign.stdout, foreign.stderr).contains("unknown-signer"), "{foreign:?}");
    let listed = admin.run(["plugin", "list", "--json"]).expect(0).json();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn errors_go_to_standard_error_and_say_what_to_do() {
    let stage = Stage::new();

    let refused = stage.admin().run(["publish", "missing.wasm"]).expect(4);
    let unreachable = stage.admin().run(["tenant", "list", "--server", "http://127.0.0.1:1"]).expect(5);

    for ended in [&refused, &unreachable] {
        assert_eq!(ended.stdout, "", "{ended:?}");
        assert!(ended.stderr.lines().count() >= 2, "no advice: {ended:?}");
    }
    assert!(!unreachable.stderr.contains(&stage.token("super_admin")), "the token is printed");
}

#[test]
fn keys_and_tokens_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let bulkhead = Bulkhead::at(folder.path());

    bulkhead.run(["init"]).expect(0);
    let again = bulkhead.run(["init"]).expect(1);
    bulkhead.run(["key", "generate", "--out", "me"]).expect(0);

    assert!(again.stderr.contains("exists"), "{again:?}");
    let mode =
        |name: &str| std::fs::metadata(folder.path().join(Path::new(name))).unwrap().permissions().mode() & 0o077;
    for name in [
        "keys/root.key.pem",
        "keys/issuer.key.pem",
        "keys/cache.key",
        "tokens/super_admin.token",
        "tokens/security.token",
        "me.key.pem",
    ] {
        assert_eq!(mode(name), 0, "{name}");
    }
}

#[test]
fn a_configuration_that_is_wrong_keeps_the_host_from_starting_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let bulkhead = Bulkhead::at(folder.path());
    let check = |text: &str, wanted: &str| {
        std::fs::write(folder.path().join("bad.toml"), text).unwrap();
        let ended = bulkhead.run(["serve", "--config", "bad.toml"]);
        assert!(ended.code == 1 || ended.code == 2, "{text}: {ended:?}");
        assert!(ended.stderr.contains(wanted), "{text}: {ended:?}");
        bulkhead.run(["config", "check", "--config", "bad.toml"]).expect(ended.code);
    };

    check("colour = 1\n", "colour");
    check("[server]\nlisten = \"nowhere\"\n", "server.listen");
    check("[server\n", "bad.toml");
    check("[server]\nmode = \"dev\"\nlisten = \"0.0.0.0:0\"\n", "dev");
    bulkhead.run(["serve", "--config", "missing.toml"]).expect(1);
    assert!(!folder.path().join("bulkhead-data").exists(), "a host that does not start leaves data behind");
}

#[test]
fn a_half_written_database_is_told_apart_from_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let bulkhead = Bulkhead::at(folder.path()).env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0");
    bulkhead.serve(["--listen", "127.0.0.1:0", "--data-dir", "data"]).end();
    let tables = std::fs::read_dir(folder.path().join("data")).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let database = tables
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "db" || extension == "sqlite"))
        .unwrap();
    std::fs::write(&database, b"SQLite format 3\0 and then nothing").unwrap();

    let ended = bulkhead.run(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);

    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("database"), "{ended:?}");
    assert_eq!(
        std::fs::read(&database).unwrap(),
        b"SQLite format 3\0 and then nothing",
        "the broken file is kept for whoever mends it"
    );
}

#[tokio::test]
async fn the_registry_is_kept_and_used_from_the_command_line() {
    let stage = Stage::new();
    let admin = stage.admin();
    stage.place("hello-0.1.0", &HELLO.signed_by(ALICE));
    admin.run(["registry", "namespace", "grant", "acme", "--owner", "Acme Ltd"]).expect(0);
    admin.run(["registry", "namespace", "grant", "acrne"]).expect(1);
    let create =
        ["registry", "token", "create", "--name", "ci", "--repository", "acme", "--scope", "push", "sign", "pull"];
    let token = admin.run(create).expect(0).stdout.trim().to_owned();
    assert!(token.starts_with("bkr_"), "{token}");
    let offering = stage.bulkhead.clone().env("BULKHEAD_REGISTRY_TOKEN", &token);

    let offered = offering.run(["publish", "hello-0.1.0.wasm", "--registry-only", "--json"]).expect(0).json();

    assert_eq!((&offered["id"], &offered["version"]), (&json!("acme.hello"), &json!("0.1.0")));
    let again = offering.run(["publish", "hello-0.1.0.wasm", "--registry-only", "--json"]).expect(0).json();
    assert_eq!(again, offered);
    let listed = admin.run(["registry", "list", "hello", "--json"]).expect(0).json();
    let version = &listed["items"][0]["versions"][0];
    assert_eq!((&version["digest"], version["signers"].as_array().unwrap().len()), (&offered["digest"], 1));
    stage.allow(ALICE);
    admin.clone().env("BULKHEAD_REGISTRY_TOKEN", &token).run(["publish", "hello-0.1.0.wasm"]).expect(0);
    admin.run(["registry", "yank", "acme.hello@0.1.0", "--reason", "too early"]).expect(0);
    assert_eq!(admin.run(["registry", "list", "--json"]).expect(0).json()["items"], json!([]));
    admin.run(["registry", "unyank", "acme.hello@0.1.0"]).expect(0);
    admin.run(["registry", "yank", "acme.hello@9.9.9"]).expect(4);
    assert_eq!(admin.run(["registry", "gc", "--json"]).expect(0).json()["blobs"], 0);
    let tokens = admin.run(["registry", "token", "list", "--json"]).expect(0).json();
    admin.run(["registry", "token", "revoke", tokens["items"][0]["id"].as_str().unwrap()]).expect(0);
    offering.run(["publish", "hello-0.1.0.wasm", "--registry-only"]).expect(1);
}

#[tokio::test]
async fn root_keys_are_replaced_from_the_command_line_by_several_people() {
    let stage = Stage::new();
    stage.allow(ALICE);
    let security = stage.bulkhead.clone().env("BULKHEAD_TOKEN", &stage.token("security"));
    for key in [BOB, CAROL] {
        std::fs::write(stage.path(&format!("{}.pem", key.name)), key.private_pem()).unwrap();
    }
    let roots = format!(
        "version = 1\nexpires = \"2199-01-01\"\nkeys = [\"{}\", \"{}\"]\nthreshold = \"all\"\n",
        BOB.verifying(),
        CAROL.verifying()
    );
    std::fs::write(stage.path("roots.toml"), roots).unwrap();
    let policy = std::fs::read_to_string(stage.path("policy.toml")).unwrap().replace("version = 2", "version = 3");
    std::fs::write(stage.path("policy.toml"), policy).unwrap();
    let sign = |what: &[&str], from: &str, key: &str, to: &str| {
        security.run([what, &["sign", from, "--key", key, "--out", to]].concat()).expect(0);
    };

    sign(&["policy", "roots"], "roots.toml", "keys/root.key.pem", "roots.json");
    sign(&["policy", "roots"], "roots.json", "bob.pem", "roots.json");
    let too_few = security.run(["policy", "roots", "install", "roots.json", "--json"]).expect(1).json();
    sign(&["policy", "roots"], "roots.json", "carol.pem", "roots.json");
    let unsigned = security.run(["policy", "roots", "install", "roots.json", "--json"]).expect(1).json();
    sign(&["policy"], "policy.toml", "bob.pem", "policy.json");
    sign(&["policy"], "policy.json", "carol.pem", "policy.json");
    security.run(["policy", "roots", "install", "roots.json", "--policy", "policy.json"]).expect(0);
    let shown = security.run(["policy", "roots", "show", "--json"]).expect(0).json();
    security.run(["policy", "install", "policy.toml", "--key", "keys/root.key.pem"]).expect(1);
    std::fs::write(stage.path("roots.toml"), "version = 0\n").unwrap();
    let mistakes = security.run(["policy", "roots", "sign", "roots.toml", "--key", "bob.pem"]).expect(1);

    assert_eq!((&too_few["code"], &unsigned["code"]), (&json!("policy-invalid"), &json!("conflict")));
    assert_eq!(
        (&shown["version"], &shown["threshold"], shown["keys"].as_array().unwrap().len()),
        (&json!(1), &json!(2), 2)
    );
    assert!(mistakes.stderr.contains("/threshold") && mistakes.stderr.contains("/keys"), "{mistakes:?}");
    let people = security.run(["policy", "roots", "show"]).expect(0).stdout;
    assert!(people.contains(&BOB.verifying().to_policy_text()), "{people}");
}

#[tokio::test]
async fn one_goes_back_to_an_older_version_from_the_command_line() {
    let stage = Stage::new();
    let admin = stage.admin();
    let security = stage.bulkhead.clone().env("BULKHEAD_TOKEN", &stage.token("security"));
    let policy = bulkhead_testkit::policies::STANDARD
        .replace("version = \"*\"", "version = \"*\"\nreview_rollback = true\ntrust = \"verified\"");
    let reviewer = "[[principal]]\nname = \"carol\"\nkeys = [\"carol\"]\n";
    let elsewhere = "[[allow]]\nid = \"b\"\nplugin = \"other.plugin\"\ntenants = [\"*\"]\n\
        signers = [{ role = \"reviewer\", of = [\"carol\"], threshold = 1 }]\n";
    stage.put_policy(2, &format!("{reviewer}{policy}{elsewhere}")).await;
    std::fs::write(stage.path("carol.pem"), CAROL.private_pem()).unwrap();
    for version in ["0.1.0", "0.2.0"] {
        stage.place(&format!("hello-{version}"), &HELLO.source().version(version).signed_by(ALICE));
        admin.run(["plugin", "install", &format!("hello-{version}.wasm")]).expect(0);
        admin.run(["plugin", "uninstall", "acme.hello"]).expect(0);
    }
    let back = ["plugin", "rollback", "acme.hello", "--reason", "INC-42", "--json"];

    let unsigned = admin.run(back).expect(3).json();
    let sign = ["sign", "hello-0.1.0.wasm", "--key", "carol.pem", "--role", "reviewer", "--reason", "INC-42"];
    stage.bulkhead.run([&sign[..], &["--rollback-from", "hello-0.2.0.wasm"]].concat()).expect(0);
    let as_author = ["sign", "hello-0.1.0.wasm", "--key", "carol.pem", "--reason", "INC-42"];
    stage.bulkhead.run([&as_author[..], &["--rollback-from", "hello-0.2.0.wasm"]].concat()).expect(2);
    admin.run(["publish", "hello-0.1.0.wasm"]).expect(0);
    let silent = admin.run(["plugin", "install", "acme.hello@0.1.0", "--json"]).expect(3).json();
    admin.run(["plugin", "install", "acme.hello@0.1.0", "--rollback"]).expect(2);
    let done =
        admin.run(["plugin", "install", "acme.hello@0.1.0", "--rollback", "--reason", "INC-42", "--json"]).expect(0);
    let shown = admin.run(["plugin", "show", "acme.hello"]).expect(0).stdout;
    let explained = security.run(["policy", "explain", "acme.hello"]).expect(0).stdout;

    assert_eq!((&unsigned["code"], &silent["code"]), (&json!("threshold-not-met"), &json!("downgrade")));
    assert_eq!(done.json()["version"], "0.1.0");
    assert!(shown.contains("verified"), "{shown}");
    assert!(explained.contains("trust verified") && explained.contains("everything-by-alice"), "{explained}");
}
