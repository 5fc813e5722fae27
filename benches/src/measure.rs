//! Clocks and rounds: CPU time of a thread, of this process and of another one; medians; A B A B.
//! It knows nothing of what is measured.

use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// Runs `rounds` + 1 rounds of all `work` in turn and answers each one's median; the first round only warms up.
pub(crate) async fn rounds<const N: usize>(
    rounds: usize,
    mut work: impl AsyncFnMut(usize) -> Result<f64>,
) -> Result<[f64; N]> {
    let mut samples = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (index, samples) in samples.iter_mut().enumerate() {
            let sample = work(index).await?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    Ok(samples.map(|mut samples| median(&mut samples)))
}

/// The middle value; 0 of nothing.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process.
pub(crate) fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

/// CPU time of the living threads of another process, kernel time included.
pub(crate) fn cpu_of(process: Pid) -> Result<Duration> {
    let mut total_ns: u64 = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()))? {
        // A thread may end while the folder is read.
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let ns: u64 = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default();
        total_ns = total_ns.saturating_add(ns);
    }
    Ok(Duration::from_nanos(total_ns))
}

/// CPU time of another process and of its children, those that ended and were waited for included.
pub(crate) fn cpu_of_family(process: Pid) -> Result<Duration> {
    let pid = process.as_raw_nonzero();
    // Fields of `stat` behind the name, which may hold blanks: the 14th and 15th are the ended children's.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().skip(13).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let ended = Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut total = cpu_of(process)?.saturating_add(ended);
    for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).filter_map(Pid::from_raw) {
        // One may end while the others are read.
        total = total.saturating_add(cpu_of(child).unwrap_or_default());
    }
    Ok(total)
}

/// Resident bytes of this process.
pub(crate) fn resident_bytes() -> Result<f64> {
    let text = std::fs::read_to_string(Path::new("/proc/self/statm"))?;
    let pages: u32 =
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or("statm has no resident pages")?;
    Ok(f64::from(pages) * f64::from(u32::try_from(rustix::param::page_size())?))
}

/// Microseconds for each of `count` calls.
pub(crate) fn each_us(passed: Duration, count: u32) -> f64 {
    passed.as_secs_f64() * 1e6 / f64::from(count.max(1))
}
