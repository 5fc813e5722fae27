//! Compiling happens in a worker that bounds itself; its failures have names.
//! It does not test what compiled code does.

use bulkhead_engine::{CompileFailure, CompileLimits, Engine, Error};
use bulkhead_model::{Code, Coded as _, Digest};

use crate::bombs::BOMBS;
use crate::guests::{bomb, hostile};
use crate::host::{Host, config, facts};

async fn compile(host: &Host, limits: CompileLimits, bytes: &[u8]) -> Result<(), CompileFailure> {
    match host.engine.compile_within(&limits, &Digest::of(bytes), &facts(), bytes).await {
        Ok(()) => Ok(()),
        Err(Error::Compile(failure)) => Err(failure),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_compile_bomb_is_stopped_in_its_worker() {
    let host = Host::new();
    let bomb = bomb(200, 900);

    let cpu = compile(&host, CompileLimits { cpu_s: 1, ..CompileLimits::DEFAULT }, &bomb).await;
    let wall = compile(&host, CompileLimits { wall_ms: 300, ..CompileLimits::DEFAULT }, &bomb).await;

    assert_eq!(cpu, Err(CompileFailure::Cpu(1)));
    assert_eq!(wall, Err(CompileFailure::Wall(300)));
}

#[tokio::test]
async fn every_compile_bomb_ends_within_the_workers_limits_and_leaves_nothing() {
    let host = Host::new();
    let limits = CompileLimits { cpu_s: 1, address_space_bytes: 512 << 20, ..CompileLimits::DEFAULT };

    for (name, text) in BOMBS {
        let failure = compile(&host, limits, &wat::parse_str(text()).unwrap()).await;
        let ended = [CompileFailure::Cpu(1), CompileFailure::Memory(512 << 20)];
        assert!(failure.as_ref().is_err_and(|failure| ended.contains(failure)), "{name}: {failure:?}");
    }

    let left = std::fs::read_dir(host.folder.path().join("cache")).unwrap().count();
    assert_eq!(left, 0, "files in the cache");
    assert_eq!(compile(&host, CompileLimits::DEFAULT, &hostile("echo")).await, Ok(()));
}

#[tokio::test]
async fn a_component_that_needs_too_much_memory_to_compile_is_refused() {
    let host = Host::new();
    let limits = CompileLimits { address_space_bytes: 120 << 20, ..CompileLimits::DEFAULT };

    let failure = compile(&host, limits, &bomb(20_000, 1)).await;

    assert_eq!(failure, Err(CompileFailure::Memory(120 << 20)));
}

#[tokio::test]
async fn a_compiled_form_that_is_too_large_is_refused() {
    let host = Host::new();
    let limits = CompileLimits { output_bytes: 1_000, ..CompileLimits::DEFAULT };

    assert_eq!(compile(&host, limits, &hostile("echo")).await, Err(CompileFailure::Output(1_000)));
}

#[tokio::test]
async fn what_is_no_binary_component_is_refused_with_the_compilers_reason() {
    let host = Host::new();
    let module = wat::parse_str("(module)").unwrap();

    for bad in [b"(component)".as_slice(), b"", b"\0asm", &module] {
        let failure = compile(&host, CompileLimits::DEFAULT, bad).await;
        assert!(matches!(failure, Err(CompileFailure::Refused(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn bytes_of_another_digest_are_not_compiled() {
    let host = Host::new();

    let error = host.engine.compile(&Digest::of(b"other"), &facts(), &hostile("echo")).await.unwrap_err();

    assert_eq!(error.code(), Code::DigestMismatch);
}

#[tokio::test]
async fn the_default_limits_are_enough_for_an_ordinary_component() {
    let host = Host::new();

    assert_eq!(compile(&host, CompileLimits::DEFAULT, &bomb(2_000, 5)).await, Ok(()));
}

#[test]
fn a_program_that_is_no_worker_of_this_build_is_refused_at_the_start() {
    let start = |program: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.compile_worker = program.into();
        Engine::new(config).unwrap_err()
    };

    assert!(matches!(start("/nonexistent"), Error::Worker { .. }));
    for program in ["/bin/true", "/bin/echo"] {
        let error = start(program);
        assert!(matches!(error, Error::WorkerMismatch { .. }), "{error}");
        assert!(error.to_string().contains("engine.compile_worker"));
    }
}
