//! The most memory this process has held, where the system tells (Linux).

/// Begins a new measurement of [`peak`]: what was held before no longer counts. Without effect where the system has no
/// such switch; [`peak`] is then the most since the process began.
pub fn forget_peak() {
    // 5 resets the peak resident set size, see proc(5); a kernel without it answers with an error, which changes nothing.
    let _ = std::fs::write("/proc/self/clear_refs", b"5");
}

/// Peak resident set in bytes since [`forget_peak`]; none where the system does not tell.
pub fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_rises_with_what_is_held_and_falls_when_forgotten() {
        let Some(before) = peak() else { return };
        let held = vec![1u8; 192 << 20];
        assert!(std::hint::black_box(&held).iter().all(|&b| b == 1));
        let with = peak().unwrap();
        assert!(with >= before.max(192 << 20), "{with}");
        drop(held);
        forget_peak();
        // Other tests of this process hold little.
        assert!(peak().unwrap() <= with);
    }
}
