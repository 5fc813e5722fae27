//! Lies about a log, as data: what is changed, and the words in which it is refused.
//! Where a lie needs the registry's key, it is signed with it: the reader must not lean on the signature alone.

use super::*;

/// A checkpoint of five leaves whose text was changed, as it stands in the table.
fn changed(from: &str, to: &str) -> String {
    let note = Log::of(5).checkpoint(5).sign(&key());
    assert!(note.contains(from), "`{from}` is not in {note}");
    note.replacen(from, to, 1)
}

/// The same, signed by the registry after the change.
fn signed_after(from: &str, to: &str) -> String {
    let note = Log::of(5).checkpoint(5).sign(&key());
    let (text, _) = note.rsplit_once("\n\n").unwrap();
    let text = format!("{text}\n");
    assert!(text.contains(from), "`{from}` is not in {text}");
    let text = text.replacen(from, to, 1);
    let origin = text.split('\n').next().unwrap().to_owned();
    note::sign(&text, &origin, &key())
}

fn check_note(note: &[u8], wanted: &str) {
    let error = Checkpoint::verify(note, &verifying(), Some(ORIGIN)).unwrap_err().to_string();
    assert!(error.contains(wanted), "{error}\n{}", String::from_utf8_lossy(note));
}

#[test]
fn a_checkpoint_that_was_changed_is_refused() {
    const CASES: [(&str, &str, &str); 14] = [
        ("\n5\n", "\n6\n", "does not fit"),
        ("\n5\n", "\n05\n", "does not fit"),
        ("registry.example/log\n5", "registry.example/other\n5", "is of the log `registry.example/other`"),
        ("registry.example/log\n5", "\n5", "not the name of a log"),
        ("registry.example/log\n5", "registry log\n5", "not the name of a log"),
        ("registry.example/log\n5", "registry+log\n5", "not the name of a log"),
        ("\n\n\u{2014} registry.example/log ", "\n\n\u{2014} registry.example/other ", "has not signed"),
        ("\n\n\u{2014} ", "\n\n- ", "not a signature"),
        ("\n\n\u{2014} ", "\n\u{2014} ", "no empty line"),
        ("\n\n\u{2014} ", "\n\nsome words\n\u{2014} ", "not a signature"),
        ("\n\n\u{2014} ", "\n\n\u{2014} registry.example/log AAAA\n\u{2014} ", "not a signature"),
        ("\n5\n", "\r\n5\r\n", "not the name of a log"),
        ("\n5\n", "\n5\r\n", "control character"),
        ("\n5\n", "\n5\u{0}\n", "control character"),
    ];

    for (from, to, wanted) in CASES {
        check_note(changed(from, to).as_bytes(), wanted);
    }
}

#[test]
fn a_checkpoint_that_is_signed_and_makes_no_sense_is_refused() {
    let root = |log: &Log| log.checkpoint(5).sign(&key()).split('\n').nth(2).unwrap().to_owned();
    let root = root(&Log::of(5));
    let cases = [
        ("\n5\n", "\n05\n".to_owned(), "not a number"),
        ("\n5\n", "\n-5\n".to_owned(), "not a number"),
        ("\n5\n", "\n+5\n".to_owned(), "not a number"),
        ("\n5\n", "\n 5\n".to_owned(), "not a number"),
        ("\n5\n", "\n0x5\n".to_owned(), "not a number"),
        ("\n5\n", "\n\n".to_owned(), "not a number"),
        ("\n5\n", "\n18446744073709551616\n".to_owned(), "not a number"),
        ("\n5\n", "\n5\n5\n".to_owned(), "not the base64"),
        (root.as_str(), "AAAA".to_owned(), "not the base64"),
        (root.as_str(), root.trim_end_matches('=').to_owned(), "not the base64"),
        (root.as_str(), format!("{root}\n\nbulkhead-audit 1 {root}"), "further lines are not empty"),
        (root.as_str(), format!("{root}{}", "\nx".repeat(17)), "at most 16"),
        (root.as_str(), format!("{root}\nbulkhead-audit 01 {root}"), "audit log is not"),
        (root.as_str(), format!("{root}\nbulkhead-audit 1"), "audit log is not"),
        (root.as_str(), format!("{root}\nbulkhead-audit 1 AAAA"), "audit log is not"),
        (root.as_str(), format!("{root}\nbulkhead-audit 1 {root}\nbulkhead-audit 1 {root}"), "two ends"),
    ];

    for (from, to, wanted) in cases {
        check_note(signed_after(from, &to).as_bytes(), wanted);
    }
}

#[test]
fn a_note_without_a_good_signature_of_the_registry_is_refused() {
    let checkpoint = Log::of(5).checkpoint(5);
    let note = checkpoint.sign(&key());
    let (text, signature) = note.split_once("\n\n").unwrap();
    let others = checkpoint.sign(&other_key());
    let many = format!("{text}\n\n{}", "\u{2014} witness AAAAAAQ=\n".repeat(33));
    let unknown_algorithm = format!("{text}\n\n\u{2014} {ORIGIN} BgAAAAEC\n");

    check_note(others.as_bytes(), "has not signed");
    check_note(unknown_algorithm.as_bytes(), "has not signed");
    check_note(format!("{text}\n\n{signature}{signature}").as_bytes(), "signed twice");
    check_note(many.as_bytes(), "more than 32 signatures");
    check_note(format!("{text}\n\n").as_bytes(), "no signatures");
    check_note(note.trim_end().as_bytes(), "last line is not ended");
    check_note(format!("{note}\n").as_bytes(), "");
    check_note(b"", "not the name of a log");
    check_note(b"\xff\xfe", "not UTF-8");
    check_note("a".repeat(17 * 1024).as_bytes(), "at most 16384 bytes");
}

#[test]
fn an_inclusion_proof_that_lies_is_refused() {
    let log = Log::of(7);
    let (proof, checkpoint) = (log.inclusion(2, 7), log.checkpoint(7));
    let check = |change: &dyn Fn(&mut InclusionProof), wanted: &str| {
        let mut lie = proof.clone();
        change(&mut lie);
        let error = lie.check(&checkpoint).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };

    check(&|lie| lie.hashes.truncate(1), "too few or too many");
    check(&|lie| lie.hashes.clear(), "too few or too many");
    check(&|lie| lie.hashes.push(Digest::of(b"one more")), "too few or too many");
    check(&|lie| lie.hashes.swap(0, 1), "do not lead");
    check(&|lie| lie.leaf_index = 3, "do not lead");
    check(&|lie| lie.leaf_index = 7, "too few or too many");
    check(&|lie| lie.leaf_index = u64::MAX, "too few or too many");
    check(&|lie| lie.tree_size = 6, "another size");
    check(&|lie| lie.leaf = log.leaves[3].clone(), "do not lead");
    check(&|lie| lie.leaf = lie.leaf.replace("1.0.2", "1.0.9"), "do not lead");
    check(&|lie| lie.leaf = "{}".to_owned(), "not a leaf");
    check(&|lie| lie.leaf = format!(" {}", lie.leaf), "not a leaf");
    assert!(proof.check(&Log::of(8).checkpoint(7)).is_ok());
    assert!(proof.check(&log.checkpoint(6)).unwrap_err().to_string().contains("another size"));
}

#[test]
fn a_log_that_forked_or_went_back_is_told_by_its_name() {
    let log = Log::of(9);
    let mut forked = Log::of(4);
    (0..5).for_each(|number| forked.append(&format!("2.0.{number}")));
    let (five, nine) = (log.checkpoint(5), log.checkpoint(9));
    let check = |proof: &ConsistencyProof, old: &Checkpoint, new: &Checkpoint, wanted: &str| {
        let error = proof.check(old, new).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let honest = log.consistency(5, 9);
    let with = |hashes: &[Digest]| ConsistencyProof { hashes: hashes.to_vec(), ..honest.clone() };

    assert_eq!(honest.check(&five, &nine), Ok(()));
    check(&honest, &five, &forked.checkpoint(9), "forked");
    check(&forked.consistency(5, 9), &five, &forked.checkpoint(9), "forked");
    check(&log.consistency(9, 9), &nine, &forked.checkpoint(9), "forked");
    check(&honest, &nine, &five, "rolled back");
    check(&with(&honest.hashes[1..]), &five, &nine, "forked");
    check(&with(&[]), &five, &nine, "forked");
    check(&with(&[honest.hashes.clone(), vec![Digest::of(b"more")]].concat()), &five, &nine, "forked");
    check(&log.consistency(4, 9), &five, &nine, "leads from 4 to 9");
    check(&ConsistencyProof { from: 0, ..honest.clone() }, &five, &nine, "leads from 0");
    let elsewhere = Checkpoint { origin: "another".to_owned(), ..nine };
    check(&honest, &five, &elsewhere, "is of the log `another`");
}

#[test]
fn a_proof_that_is_not_one_is_refused() {
    let inclusion = Log::of(7).inclusion(2, 7).to_json();
    let consistency = Log::of(7).consistency(2, 7).to_json();
    let digest = format!("\"{}\"", Digest::of(b"x"));
    let many = format!("\"hashes\":[{}],\"x\":[", vec![digest; 65].join(",")).replace(",\"x\":[", "");
    let cases = [
        ("\"leaf_index\":2", "\"leaf_index\":-2"),
        ("\"leaf_index\":2", "\"leaf_index\":02"),
        ("\"leaf_index\":2", "\"leaf_index\":2.0"),
        ("\"leaf_index\":2", "\"leaf_index\":18446744073709551616"),
        ("\"leaf_index\":2", "\"leaf_index\":2,\"leaf_index\":3"),
        ("\"leaf_index\":2", "\"leaf_index\":2,\"more\":1"),
        ("[\"sha256:", "[\"sha512:"),
        ("[\"sha256:", "[\"SHA256:"),
    ];

    for (from, to) in cases {
        assert!(inclusion.contains(from));
        let error = InclusionProof::from_json(inclusion.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{to}: {error}");
        let moved = to.replace("leaf_index", "from");
        let changed = consistency.replacen(&from.replace("leaf_index", "from"), &moved, 1);
        assert!(ConsistencyProof::from_json(changed.as_bytes()).is_err(), "{changed}");
    }
    let long = format!("{{\"from\":2,\"to\":7,{many}}}");
    assert!(ConsistencyProof::from_json(long.as_bytes()).unwrap_err().to_string().contains("more than 64"));
    let large = InclusionProof::from_json(&vec![b' '; 65 * 1024]).unwrap_err();
    assert!(matches!(large, Error::TooLarge { .. }));
}

#[test]
fn a_timestamp_that_lies_is_refused() {
    let signed = timestamp().sign(&key());
    let check = |bytes: &[u8], wanted: &str| {
        let error = Timestamp::verify(bytes, &verifying(), now()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let foreign = Timestamp { checkpoint: Log::of(3).checkpoint(3).sign(&other_key()), ..timestamp() };
    let broken = Timestamp { checkpoint: "registry.example/log\n3\n".to_owned(), ..timestamp() };

    check(timestamp().sign(&other_key()).as_bytes(), "does not fit");
    check(foreign.sign(&key()).as_bytes(), "has not signed");
    check(broken.sign(&key()).as_bytes(), "malformed");
    check(signed.replace("timestamp.v1", "policy.v1").as_bytes(), "payload type");
    check(
        signed.replace("\"signatures\":[", "\"signatures\":[{\"sig\":\"AAAA\"},").as_bytes(),
        "exactly one signature",
    );
    check(br#"{"payload":"","payloadType":"x","signatures":[]}"#, "exactly one signature");
    check(signed.replace("\"payload\":", "\"more\":1,\"payload\":").as_bytes(), "malformed");
    check(&vec![b'a'; 65 * 1024], "at most 65536 bytes");
}

#[test]
fn an_audit_log_that_was_changed_names_its_first_broken_entry() {
    let check = |change: &dyn Fn(&mut Vec<String>), wanted: u64| {
        let mut lines = lines(5);
        change(&mut lines);
        match replay(&lines, None) {
            Err(Error::AuditBroken { sequence, .. }) => assert_eq!(sequence, wanted),
            other => panic!("{other:?}"),
        }
    };

    check(&|lines| lines[2] = lines[2].replace("anna", "eve"), 3);
    check(&|lines| lines[2] = lines[2].replace("1000", "1001"), 3);
    check(&|lines| lines[2] = lines[2].replace("'x'", "'y'"), 3);
    check(&|lines| drop(lines.remove(1)), 2);
    check(&|lines| drop(lines.remove(0)), 1);
    check(&|lines| lines.swap(3, 4), 4);
    check(&|lines| lines.insert(2, lines[1].clone()), 3);
    check(&|lines| lines[0] = String::new(), 1);
    check(&|lines| lines[4].push('}'), 5);
    check(&|lines| lines[4] = lines[4].replace("\"at\"", "\"more\":1,\"at\""), 5);
    check(&|lines| lines[1] = "x".repeat((1 << 20) + 1), 2);
}
