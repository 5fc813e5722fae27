//! Size: boot with many plugins (P7), memory (P8), the cost of a call among many tenants or plugins (P14).
//! Memory is measured in processes of their own: see `parts`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_host::Host;
use bulkhead_model::{PluginId, Reuse, TenantId};

use crate::calls::{call, timed};
use crate::figures::{Bar, Row};
use crate::measure::{each_us, median, process_cpu};
use crate::parts;
use crate::world::{self, Rotations, World};
use crate::{Options, Result, guests, measure, raw};

/// Instances at once where few live.
const INSTANCES: u32 = 200;
/// The default of a host.
const INSTANCES_DEFAULT: u32 = 2_000;
const IDLE_MS: u64 = 60_000;
/// Plugins and tenants of the smallest host, which every larger one contains.
const FEW: u32 = 10;
/// Calls in each of the [`FEW`] tenants in one round.
const CALLS: u32 = 20;
/// Bytes of the MAC behind a compiled file of the product.
const MAC_BYTES: u64 = 32;

/// Sizes of a run.
struct Sizes {
    plugins: u32,
    tenants: u32,
    live: u32,
    idle_plugins: u32,
}

impl Sizes {
    fn of(options: &Options) -> Self {
        if options.quick {
            Self { plugins: 200, tenants: 1_000, live: 500, idle_plugins: 10 }
        } else {
            Self { plugins: 1_000, tenants: 10_000, live: 1_000, idle_plugins: 50 }
        }
    }
}

/// Runs those of P7, P8, P14 that are wanted.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let sizes = Sizes::of(options);
    let folder = tempfile::tempdir()?;
    let few = world(folder.path(), "few", FEW, FEW, Reuse::Never).await?;
    let mut rows = Vec::new();
    if options.wants("P7") || options.wants("P14") || options.wants("P8") {
        let many = world(folder.path(), "plugins", sizes.plugins, FEW, Reuse::Never).await?;
        if options.wants("P7") {
            rows.extend(boot(&many, sizes.plugins, options).await?);
        }
        if options.wants("P8") {
            let (small, large) = (parts::boot_bytes(&few)?, parts::boot_bytes(&many)?);
            let each = (large - small) / f64::from(sizes.plugins - FEW) / 1024.0;
            rows.push(Row::value(
                "P8",
                format!("resident memory of a plugin, of {}", sizes.plugins),
                "KiB",
                each,
                Bar::AtMost(700.0),
            ));
        }
        if options.wants("P14") {
            let what = format!("a fresh call with {} plugins over {FEW}", sizes.plugins);
            rows.push(growth(&few, &many, what, options).await?);
        }
    }
    if options.wants("P14") {
        let many = world(folder.path(), "tenants", FEW, sizes.tenants, Reuse::Never).await?;
        rows.push(
            growth(&few, &many, format!("a fresh call with {} tenants over {FEW}", sizes.tenants), options).await?,
        );
    }
    if options.wants("P8") {
        rows.extend(live(folder.path(), &sizes).await?);
    }
    Ok(rows)
}

fn name(index: u32) -> String {
    format!("p{index:04}")
}

/// A world with plugins of a usual size. The first tenant has all of them, the others the first [`FEW`].
async fn world(folder: &Path, label: &str, plugins: u32, tenants: u32, reuse: Reuse) -> Result<World> {
    let world = World::at(&folder.join(label), INSTANCES, IDLE_MS)?;
    let model = guests::sized("p0000", reuse);
    let sources = (0..plugins).map(|index| guests::named(model.clone(), &name(index), reuse));
    world.install(sources.collect()).await?;
    let all = (0..plugins).map(|index| Ok((world::plugin(&name(index))?, "{}"))).collect::<Result<Vec<_>>>()?;
    let few: Vec<(PluginId, &str)> = all.iter().take(usize::try_from(FEW)?).cloned().collect();
    let tenants = world::tenants(tenants)?;
    let (first, others) = tenants.split_at(1);
    world.enable(first, &all).await?;
    world.enable(others, &few).await?;
    Ok(world)
}

/// P7: the CPU time of a whole boot, database and workers included, against that of the bare loads.
async fn boot(world: &World, plugins: u32, options: &Options) -> Result<Vec<Row>> {
    let files = bare_files(world)?;
    let first = world::tenants(1)?;
    let caller = first.first().map(world::caller).ok_or("no tenant")?;
    let hook = format!("bench.{}", name(plugins - 1));
    let mut walls = Vec::new();
    let [bare, ours] = measure::rounds(options.rounds, async |index| {
        let (began, wall) = (process_cpu(), Instant::now());
        if index == 0 {
            let engine = raw::engine(INSTANCES)?;
            let loaded = files.iter().map(|file| raw::Filter::load(&engine, file)).collect::<Result<Vec<_>>>()?;
            std::hint::black_box(&loaded);
            return Ok((process_cpu() - began).as_secs_f64() * 1e3);
        }
        let host = world.open().await?;
        call(&host, &caller, &hook).await?;
        let passed = process_cpu() - began;
        walls.push(wall.elapsed().as_secs_f64());
        close(&host).await;
        Ok(passed.as_secs_f64() * 1e3)
    })
    .await?;
    Ok(vec![
        Row::ratio(
            "P7",
            format!("boot with {plugins} plugins to the first answer, over bare loads"),
            "ms",
            [ours, bare],
            Bar::AtMost(2.0),
        ),
        Row::value(
            "P7",
            format!("the same by the clock on the wall, {plugins} plugins"),
            "s",
            median(&mut walls),
            Bar::AtMost(1.5),
        ),
    ])
}

async fn close(host: &Host) {
    host.shutdown(Duration::from_secs(2)).await;
}

/// The compiled files of a world without the MACs behind them.
fn bare_files(world: &World) -> Result<Vec<PathBuf>> {
    let bare = world.folder().join("bare");
    std::fs::create_dir_all(&bare)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&world.config.engine.cache_dir)? {
        let entry = entry?;
        let copy = bare.join(entry.file_name());
        let length = std::fs::copy(entry.path(), &copy)?;
        std::fs::File::options().write(true).open(&copy)?.set_len(length.saturating_sub(MAC_BYTES))?;
        files.push(copy);
    }
    Ok(files)
}

/// P14: the same calls in the same tenants of a small host and of a large one, in turn.
async fn growth(few: &World, many: &World, what: String, options: &Options) -> Result<Row> {
    let (few, many) = (few.open().await?, many.open().await?);
    let tenants = world::tenants(FEW)?;
    let (small, large) = (Rotations::of(&tenants), Rotations::of(&tenants));
    let [small_us, large_us] = measure::rounds(options.rounds.max(9), async |index| {
        let (host, rotation) = if index == 0 { (&few, &small) } else { (&many, &large) };
        let mut passed = Duration::ZERO;
        for caller in rotation.take("bench.p0000", tenants.len(), CALLS).await {
            passed += timed(host, &caller, "bench.p0000", CALLS).await?;
        }
        Ok(each_us(passed, CALLS * FEW))
    })
    .await?;
    close(&few).await;
    close(&many).await;
    Ok(Row::ratio("P14", what, "us", [large_us, small_us], Bar::AtMost(1.1)))
}

/// P8: live instances, and many plugins in many tenants.
async fn live(folder: &Path, sizes: &Sizes) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let one = larger(&world(folder, "live", FEW, sizes.live, Reuse::Tenant).await?, IDLE_MS)?;
    let [before, after, _] = parts::calls_bytes(&one, &world::tenants(sizes.live)?, 1)?;
    let each = (after - before) / f64::from(sizes.live) / 1024.0;
    rows.push(Row::value(
        "P8",
        format!("resident memory of a live instance, of {}", sizes.live),
        "KiB",
        each,
        Bar::AtMost(80.0),
    ));

    let (plugins, tenants) = (sizes.idle_plugins, world::tenants(100)?);
    let wide = larger(&world(folder, "wide", plugins, 1, Reuse::Tenant).await?, 2_000)?;
    everywhere(&wide, &tenants, plugins).await?;
    let [_, after, idle] = parts::calls_bytes(&wide, &tenants, plugins)?;
    let mib = 1024.0 * 1024.0;
    rows.push(Row::value(
        "P8",
        format!("{plugins} plugins in 100 tenants after a call each, whole process"),
        "MiB",
        after / mib,
        Bar::AtMost(450.0),
    ));
    rows.push(Row::value("P8", "the same after the idle limit", "MiB", idle / mib, Bar::AtMost(120.0)));
    Ok(rows)
}

fn larger(world: &World, idle_ms: u64) -> Result<World> {
    World::at(world.folder(), INSTANCES_DEFAULT, idle_ms)
}

async fn everywhere(world: &World, tenants: &[TenantId], plugins: u32) -> Result<()> {
    let all = (0..plugins).map(|index| Ok((world::plugin(&name(index))?, "{}"))).collect::<Result<Vec<_>>>()?;
    world.enable(tenants, &all).await
}

/// One call of the first `plugins` plugins in each tenant.
pub(crate) async fn call_everywhere(host: &Host, tenants: &[TenantId], plugins: u32) -> Result<()> {
    for tenant in tenants {
        let caller = world::caller(tenant);
        for index in 0..plugins {
            call(host, &caller, &format!("bench.{}", name(index))).await?;
        }
    }
    Ok(())
}
