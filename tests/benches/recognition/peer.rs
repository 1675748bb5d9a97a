//! The peer's process, and the virtual environment in which it runs.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context as _;
use gatehouse::{camera::Picture, vision::Template};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Arguments, Spent, people::Visit};

/// A look of the peer at a frame.
#[derive(Deserialize)]
pub struct Look {
    wall_ns: f64,
    cpu_ns: f64,
    stages_ns: [f64; 6],
    /// Left, top, width and height of each face, in pixels of the frame.
    pub boxes: Vec<[f32; 4]>,
    /// The number of the best worker for the widest face.
    pub best: Option<usize>,
}

impl Look {
    pub fn spent(&self) -> Spent {
        Spent { wall: self.wall_ns / 1e9, cpu: self.cpu_ns / 1e9 }
    }

    /// Returns the time of a stage in seconds.
    pub fn stage(&self, n: usize) -> f64 {
        self.stages_ns[n] / 1e9
    }
}

/// The peer's searches.
#[derive(Deserialize)]
pub struct Search {
    wall_ns: f64,
    cpu_ns: f64,
    pub best: Vec<usize>,
}

impl Search {
    pub fn spent(&self) -> Spent {
        Spent { wall: self.wall_ns / 1e9, cpu: self.cpu_ns / 1e9 }
    }
}

pub struct Peer {
    /// The versions, and the choices that the peer has made.
    pub name: String,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _dir: tempfile::TempDir,
}

impl Peer {
    pub fn new(
        models: &Path,
        kept: Option<&Path>,
        visits: &[Visit],
        [roster, many, probes]: [&[Template]; 3],
        arguments: &Arguments,
    ) -> anyhow::Result<Peer> {
        let dir = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
        let folder = kept.unwrap_or(dir.path());
        let frames = folder.join("frames");
        std::fs::create_dir_all(&frames)?;
        for (n, frame) in visits.iter().flat_map(|visit| &visit.frames).enumerate() {
            let Picture::Encoded(bytes) = frame else { continue };
            std::fs::write(frames.join(format!("{n:04}.jpg")), bytes)?;
        }
        for (name, templates) in [("roster", roster), ("many", many), ("probes", probes)] {
            let numbers = templates.iter().flat_map(|template| template.as_slice());
            let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
            std::fs::write(folder.join(name).with_extension("f32"), bytes)?;
        }
        let python = arguments.python.clone().map_or_else(python, Ok)?;
        let mut command = Command::new(python);
        command.arg(here("peers/recognition.py")).arg(models).arg(folder);
        if arguments.peer_prelu_rewritten {
            command.arg("--prelu-rewritten");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take().context("stdin")?;
        let answers = BufReader::new(child.stdout.take().context("stdout")?);
        let mut peer = Peer { name: String::new(), child, commands, answers, _dir: dir };
        peer.name = peer.answer()?;
        Ok(peer)
    }

    pub fn look(&mut self) -> anyhow::Result<Vec<Look>> {
        writeln!(self.commands, "look")?;
        self.answer()
    }

    pub fn search(&mut self) -> anyhow::Result<Search> {
        writeln!(self.commands, "search")?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the peer has ended; see its message above")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A process that has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// Returns the Python of a virtual environment with the peer's packages. A script sets it up.
fn python() -> anyhow::Result<PathBuf> {
    // The build folder is two folders above the program.
    let venv = Path::new(env!("CARGO_BIN_EXE_gatehouse")).ancestors().nth(2);
    let venv = venv.context("the build folder")?.join("gatehouse-bench-venv");
    let script = here("peers/recognition.sh");
    let done = Command::new(&script).arg(&venv).status()?;
    anyhow::ensure!(done.success(), "{} failed", script.display());
    Ok(venv.join("bin/python"))
}
