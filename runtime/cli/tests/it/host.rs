//! The binary against a host that it serves itself: from an unsigned file to an enabled plugin, and
//! what the exit code says when the host says no.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::bench::Bench;

/// A host in a folder that `init` made. It ends with the test.
struct Host {
    bench: Bench,
    child: Child,
    address: String,
}

impl Host {
    fn start() -> Self {
        let bench = Bench::signed();
        bench.ok("init");
        let mut child = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0")
            .current_dir(bench.path("."))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| {
                let line = line.unwrap();
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split([',', ' ']).next().unwrap().to_owned())
            })
            .expect("the host ended before it listened");
        // The pipe must not fill up while the test runs.
        std::thread::spawn(move || lines.for_each(drop));
        Self { bench, child, address }
    }

    /// The command line as an operator types it.
    fn line(&self, line: &str, token: &str) -> String {
        let token = String::from_utf8(self.bench.read(&format!("tokens/{token}.token"))).unwrap();
        format!("{line} --server {} --token {token}", self.address)
    }

    fn ok(&self, line: &str) -> String {
        self.bench.ok(&self.line(line, "super_admin"))
    }

    fn fails(&self, code: i32, line: &str) -> String {
        self.bench.fails(code, &self.line(line, "super_admin"))
    }

    fn allow_the_author(&self) {
        let key = self.bench.json("key show acme.pub.pem");
        let policy = format!(
            "version = 2\nexpires = \"2099-01-01\"\n[[principal]]\nname = \"acme\"\nkeys = [{}]\n[[allow]]\nid = \"acme\"\n\
             plugin = \"acme.*\"\nsigners = [{{ role = \"author\", of = [\"acme\"], threshold = 1 }}]\ntenants = [\"*\"]\n",
            key["policy_text"]
        );
        self.bench.write("policy.toml", policy);
        self.bench.ok(&self.line("policy install policy.toml --key keys/root.key.pem", "security"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).unwrap_or_default();
    }
}

#[test]
fn a_signed_plugin_is_installed_enabled_and_stopped_from_the_command_line() {
    let host = Host::start();
    host.allow_the_author();

    host.ok("plugin install echo-1.2.0.wasm");
    assert!(host.ok("plugin show acme.echo").contains("installed"));
    host.ok("plugin enable acme.echo");
    host.ok("tenant create corp");
    host.ok("tenant-plugin enable acme.echo --tenant corp");

    assert!(host.ok("plugin list").contains("active"));
    assert!(host.ok("tenant list").contains("corp"));
    assert!(host.ok("plugin health acme.echo").contains("corp"));
    assert!(host.ok("plugin errors acme.echo").contains("no errors"));
    assert!(host.ok("plugin kill acme.echo --tenant corp").contains("killed"));
    host.ok("plugin revive acme.echo --tenant corp");
    host.ok("tenant-plugin disable acme.echo --tenant corp");
    host.ok("plugin disable acme.echo");
    assert!(host.ok("plugin uninstall acme.echo").contains("uninstalled"));
    let tail = host.bench.json(&host.line("audit tail --limit 3", "security"));
    let entries = tail["items"].as_array().unwrap();
    let sequences: Vec<u64> = entries.iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, [sequences[2] - 2, sequences[2] - 1, sequences[2]]);
    assert_eq!(entries[2]["action"], "plugin.finish-uninstall", "{tail}");
    let audit = host.bench.ok(&host.line("audit verify", "security"));
    assert!(audit.contains("intact"), "{audit}");
}

#[test]
fn publishing_the_same_bytes_again_is_no_failure() {
    let host = Host::start();
    host.allow_the_author();

    assert!(host.ok("publish echo-1.2.0.wasm").contains("is registered"));
    assert!(host.ok("publish echo-1.2.0.wasm").contains("already"));
    assert!(host.bench.ok(&host.line("policy explain acme.echo", "security")).contains("allowed by rule `acme`"));
}

#[test]
fn what_policy_refuses_ends_with_3_and_what_is_not_there_with_4() {
    let host = Host::start();

    let stderr = host.fails(3, "plugin install echo-1.2.0.wasm");
    assert!(stderr.contains("unknown-signer"), "{stderr}");
    std::fs::remove_file(host.bench.path("echo-1.2.0.1.sigstore.json")).unwrap();
    let stderr = host.fails(3, "publish echo-1.2.0.wasm");
    assert!(stderr.contains("unsigned") && stderr.contains("bulkhead sign"), "{stderr}");

    host.fails(4, "plugin show acme.none");
    host.fails(4, "plugin install acme.none@1.0.0");
    host.fails(4, "tenant suspend none");
}

#[test]
fn a_token_that_does_not_suffice_says_which_role_does() {
    let host = Host::start();

    let stderr = host.bench.fails(1, &host.line("plugin list", "security"));
    assert!(stderr.contains("role-required") && stderr.contains("super_admin"), "{stderr}");
    let stderr = host.bench.fails(1, &format!("plugin list --server {} --token wrong", host.address));
    assert!(stderr.contains("unauthenticated") && stderr.contains("token issue"), "{stderr}");
    let stderr = host.bench.fails(1, &format!("plugin list --server {}", host.address));
    assert!(stderr.contains("unauthenticated"), "{stderr}");
}

#[test]
fn a_configuration_that_is_no_json_is_not_sent() {
    let bench = Bench::new();
    bench.write("config.json", "{ no json");

    let line = "tenant-plugin config acme.echo --tenant corp --set config.json --server http://127.0.0.1:9";
    assert!(bench.fails(1, line).contains("not JSON"));
}
