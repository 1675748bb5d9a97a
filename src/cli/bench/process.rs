//! Runs a daemon as a process of its own, and reads its CPU time and memory from `/proc`.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    control::{Client, Request},
    status::Status,
};

/// A daemon process. It is killed when this value is dropped.
pub(super) struct Daemon(Child);

impl Daemon {
    pub(super) fn start(config: &Path) -> anyhow::Result<Daemon> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
        Ok(Daemon(command.stderr(Stdio::null()).spawn()?))
    }

    pub(super) fn still_runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Returns the text of a file of `/proc/PID`.
    fn account(&self, name: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{name}", self.0.id()))?)
    }

    /// Returns a field of `/proc/PID/status` in MiB.
    pub(super) fn memory(&self, field: &str) -> anyhow::Result<f64> {
        let account = self.account("status")?;
        let line = account.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        let kib: f64 = line
            .and_then(|l| l.trim().trim_end_matches("kB").trim().parse().ok())
            .with_context(|| format!("/proc/PID/status has no {field}"))?;
        Ok(kib / 1024.0)
    }

    /// Returns the CPU time of all threads since the start.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        // The name, in brackets, may hold spaces. utime and stime are fields 12 and 13 after it.
        let stat = self.account("stat")?;
        let after = stat.rsplit_once(')').context("/proc/PID/stat")?.1;
        let ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.0.id())?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM)?;
        tokio::task::spawn_blocking(move || self.0.wait()).await??;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A process that has ended already is no error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the status of the daemon at this socket, or `None` if no daemon listens yet.
pub(super) async fn status(socket: &Path) -> anyhow::Result<Option<Status>> {
    let Ok(mut client) = Client::connect(socket).await else { return Ok(None) };
    Ok(Some(client.ask(&Request::Status).await?))
}
