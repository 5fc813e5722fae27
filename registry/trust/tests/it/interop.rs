//! Other people's tools read our keys and verify our signatures, and we read theirs.
//! A tool that is missing fails the test and says so: nothing is skipped in silence.

use std::path::Path;
use std::process::Command;

use bulkhead_trust::dsse::pae;
use bulkhead_trust::key::Outcome;
use bulkhead_trust::statement::PAYLOAD_TYPE;
use bulkhead_trust::{SigningKey, VerifyingKey};

use crate::fixtures::{AUTHOR, OTHER, artifact, key, signed, statement};

fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{program}` on PATH: {error}"));
    (
        output.status.success(),
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    )
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn signature_and_message() -> ([u8; 64], Vec<u8>) {
    let message = pae(PAYLOAD_TYPE, &statement(&artifact()).to_json());
    (key(AUTHOR).sign(&message), message)
}

#[test]
fn openssl_verifies_what_we_sign() {
    let folder = tempfile::tempdir().unwrap();
    let (signature, message) = signature_and_message();
    let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let (message, signature) = (write("message", &message), write("signature", &signature));
    let ours = write("ours.pem", key(AUTHOR).verifying_key().to_pem().as_bytes());
    let other = write("other.pem", key(OTHER).verifying_key().to_pem().as_bytes());
    let verify = |key: &str| {
        run(
            "openssl",
            &["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key, "-in", &message, "-sigfile", &signature],
        )
    };

    let (good, text) = verify(&ours);
    assert!(good, "{text}");
    assert!(!verify(&other).0);
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let ours = write(folder.path(), "ours.pem", key(AUTHOR).to_pem().as_bytes());
    let theirs = folder.path().join("theirs.pem").to_str().unwrap().to_owned();

    let (good, public) = run("openssl", &["pkey", "-in", &ours, "-pubout"]);
    assert!(good, "{public}");
    assert_eq!(VerifyingKey::from_pem(&public), Ok(key(AUTHOR).verifying_key()));

    let (good, text) = run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &theirs]);
    assert!(good, "{text}");
    let signing = SigningKey::from_pem(&std::fs::read_to_string(&theirs).unwrap()).unwrap();
    let (_, public) = run("openssl", &["pkey", "-in", &theirs, "-pubout"]);
    assert_eq!(VerifyingKey::from_pem(&public), Ok(signing.verifying_key()));
    assert_eq!(signing.verifying_key().to_pem(), public);
}

#[test]
fn we_verify_what_openssl_signs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let (_, message) = signature_and_message();
    let (private, input) = (write("key.pem", key(AUTHOR).to_pem().as_bytes()), write("message", &message));
    let output = folder.path().join("signature");

    let (good, text) = run(
        "openssl",
        &["pkeyutl", "-sign", "-rawin", "-inkey", &private, "-in", &input, "-out", output.to_str().unwrap()],
    );

    assert!(good, "{text}");
    let signature = std::fs::read(output).unwrap().try_into().unwrap();
    assert_eq!(key(AUTHOR).verifying_key().check(&message, &signature), Outcome::Valid);
}

/// A verifier of bundles that shares no line with ours.
const PYTHON: &str = r#"
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key, Encoding, PublicFormat
bundle, artifact, pem = (open(path, "rb").read() for path in sys.argv[1:4])
key, bundle = load_pem_public_key(pem), json.loads(bundle)
envelope = bundle["dsseEnvelope"]
payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
[signature] = envelope["signatures"]
key.verify(base64.b64decode(signature["sig"]), message)
statement = json.loads(payload)
[subject] = statement["subject"]
assert subject["digest"] == {"sha256": hashlib.sha256(artifact).hexdigest()}
spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
assert bundle["verificationMaterial"]["publicKey"]["hint"] == base64.b64encode(hashlib.sha256(spki).digest()).decode()
print("verified", subject["name"])
"#;

#[test]
fn python_verifies_a_bundle_from_the_published_format_alone() {
    let (found, text) = run("python3", &["-c", "import cryptography"]);
    assert!(found, "this test needs Python's `cryptography` (`pip install cryptography`): {text}");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let bytes = artifact();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    let bundle = write("bundle.json", signed(&bytes, AUTHOR).as_bytes());
    let (good, bad) = (write("good.wasm", &bytes), write("bad.wasm", &changed));
    let ours = write("ours.pem", key(AUTHOR).verifying_key().to_pem().as_bytes());
    let other = write("other.pem", key(OTHER).verifying_key().to_pem().as_bytes());
    let verify = |artifact: &str, key: &str| run("python3", &["-c", PYTHON, &bundle, artifact, key]);

    assert_eq!(verify(&good, &ours), (true, "verified acme.crm@1.2.0\n".to_owned()));
    assert!(!verify(&bad, &ours).0);
    assert!(!verify(&good, &other).0);
}
