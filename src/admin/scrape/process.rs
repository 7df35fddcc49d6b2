//! The process itself, under the names that every client library of Prometheus has for it.

use crate::telemetry::metrics::text::{Exposition, Type};
use std::fs;

/// In what `/proc` counts time (`USER_HZ` of Linux).
const TICKS: f64 = 100.0;

/// Writes what can be known on this system.
pub(super) fn write(out: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // What stands in parentheses is the name, which may have anything in it.
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ')
        .collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let cpu = ticks(14)
        .zip(ticks(15))
        .map(|(user, system)| (user + system) / TICKS);
    let booted = line("/proc/stat", "btime ").and_then(|text| text.parse::<f64>().ok());
    let started = booted
        .zip(ticks(22))
        .map(|(booted, after)| booted + after / TICKS);
    let kib = |field| {
        let text = line("/proc/self/status", field)?;
        let number = text.split_whitespace().next()?.parse::<f64>().ok()?;
        Some(number * 1024.0)
    };
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        .map(|open| open.count() as f64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    for (name, is, of, value) in [
        ("process_cpu_seconds", "CPU time", Type::Counter, cpu),
        (
            "process_resident_memory_bytes",
            "Memory that is in use",
            Type::Gauge,
            kib("VmRSS:"),
        ),
        (
            "process_virtual_memory_bytes",
            "Memory that is addressed",
            Type::Gauge,
            kib("VmSize:"),
        ),
        (
            "process_open_fds",
            "Open file descriptors",
            Type::Gauge,
            open,
        ),
        (
            "process_max_fds",
            "The most open file descriptors",
            Type::Gauge,
            limit.map(|limit| limit as f64),
        ),
        (
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            Type::Gauge,
            started,
        ),
    ] {
        if let Some(value) = value {
            out.family(name, is, of).sample(&[], value);
        }
    }
}

/// The rest of the line of a file that begins so.
fn line(file: &str, start: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    Some(rest.trim().to_owned())
}
