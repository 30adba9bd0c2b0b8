//! The process that looks.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    LONGEST, MOST_MEMORY,
    message::{Message, Task},
};
use crate::{
    inspect::{Findings, LiveProcess, Memory, Shallow, go},
    proc::ProcDir,
};

/// Looks at a process, and then answers with Go's figures whenever it is asked, until the channel is closed.
pub fn run(process: &LiveProcess, channel: &mut UnixStream, task: Task) -> io::Result<()> {
    limit()?;
    let Findings { runtime, go } = if task.is_shallow {
        Findings::of(&Shallow(process), task.wants_go)
    } else {
        Findings::of(process, task.wants_go)
    };
    if !process.has_memory() {
        return Message::Gone.send(channel);
    }
    let go = go.map(|reader| reader.and_then(|reader| Ok((reader, process.open_memory()?))));
    Message::Found {
        runtime: Box::new(runtime),
        go: go.as_ref().map(|found| {
            let source = found.as_ref().map(|(reader, _)| reader.source().to_owned());
            source.map_err(ToString::to_string)
        }),
    }
    .send(channel)?;
    let Some(Ok((reader, memory))) = go else {
        return Ok(());
    };
    end_of_limits()?;
    answer(&reader, &memory, channel)
}

fn answer(reader: &go::Reader, memory: &dyn Memory, channel: &mut UnixStream) -> io::Result<()> {
    let mut asked = [0];
    while channel.read(&mut asked)? > 0 {
        let figures = reader.read(memory).map_err(|error| error.to_string());
        Message::Figures(figures).send(channel)?;
    }
    Ok(())
}

/// Sets the bounds of time and memory. A parser that takes more is ended by the kernel.
fn limit() -> io::Result<()> {
    let data = own_data().ok_or_else(|| io::Error::other("VmData is not in /proc/self/status"))?;
    lower(Resource::Data, data + MOST_MEMORY)?;
    lower(Resource::Core, 0)?;
    lower(Resource::Cpu, LONGEST.as_secs())?;
    // SAFETY: takes a number; the signal ends this process, as it should.
    unsafe { libc::alarm(LONGEST.as_secs() as libc::c_uint) };
    Ok(())
}

/// From now on time is spent on reading figures, for as long as the capture goes on.
fn end_of_limits() -> io::Result<()> {
    // SAFETY: takes a number.
    unsafe { libc::alarm(0) };
    let maximum = getrlimit(Resource::Cpu).maximum;
    let unlimited = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Cpu, unlimited)?)
}

/// Lowers a limit, unless it is lower already; the hard one stays.
fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let current = Some(current.unwrap_or(to).min(to));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// Returns the bytes that count against `RLIMIT_DATA`.
fn own_data() -> Option<u64> {
    let mut text = String::new();
    let status = ProcDir::own().ok()?.open_relative("status");
    status.ok()?.read_to_string(&mut text).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kib = kib.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? << 10)
}
