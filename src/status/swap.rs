//! Whether memory of the daemon may be written to a swap device, from `/proc` and the control group.

use std::path::Path;

/// Returns whether this machine has a swap device that the daemon may use.
pub(super) fn may_swap() -> bool {
    may_swap_at(Path::new("/"))
}

fn may_swap_at(root: &Path) -> bool {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    // The first line is the heading.
    if read("proc/swaps").lines().count() < 2 {
        return false;
    }
    // `MemorySwapMax=0` of the unit.
    let groups = read("proc/self/cgroup");
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    group.is_none_or(|group| read(&format!("sys/fs/cgroup/{group}/memory.swap.max")).trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_counts_unless_the_unit_forbids_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let heading = "Filename Type Size Used Priority\n";
        write("proc/swaps", heading);
        write("proc/self/cgroup", "0::/system.slice/gatehouse.service\n");
        assert!(!may_swap_at(root.path()));
        write("proc/swaps", &format!("{heading}/dev/zram0 partition 1 0 -2\n"));
        assert!(may_swap_at(root.path()));
        let limit = "sys/fs/cgroup/system.slice/gatehouse.service/memory.swap.max";
        write(limit, "max\n");
        assert!(may_swap_at(root.path()));
        write(limit, "0\n");
        assert!(!may_swap_at(root.path()));
    }
}
