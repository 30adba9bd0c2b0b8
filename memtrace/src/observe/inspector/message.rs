//! The messages between memtrace, the spawner and its workers.

use std::{
    io::{self, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::model::{GoFigures, RuntimeInfo};

/// Most bytes of a message. Those that say what runs in a process have some KiB.
const MOST: usize = 1 << 20;

/// A worker's message. Errors are text: the target may have taken over the worker that it comes from, and what memtrace makes of an
/// error must not depend on that process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The end of a look.
    Found {
        /// What runs in the process.
        runtime: Box<RuntimeInfo>,
        /// How Go's figures are found, or why they are not, if they were looked for.
        go: Option<Result<String, String>>,
    },
    /// The end of a look at a process that has no memory any more.
    Gone,
    /// Go's figures, or why they could not be read.
    Figures(Result<GoFigures, String>),
}

impl Message {
    /// Writes it, with its length in front.
    pub fn send(&self, channel: &mut impl Write) -> io::Result<()> {
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, self)?;
        let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
        if let Some(head) = frame.first_chunk_mut() {
            *head = length.to_le_bytes();
        }
        channel.write_all(&frame)
    }
}

/// Messages out of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    is_broken: bool,
}

impl Frames {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole message; `Some(None)` if the stream is none of messages.
    pub fn next(&mut self) -> Option<Option<Message>> {
        if self.is_broken {
            return Some(None);
        }
        let length = u32::from_le_bytes(*self.bytes.first_chunk()?) as usize;
        if length > MOST {
            self.is_broken = true;
            return Some(None);
        }
        let message = self.bytes.get(4..4 + length)?;
        let message = serde_json::from_slice(message);
        self.is_broken = message.is_err();
        self.bytes.drain(..4 + length);
        self.bytes.shrink_to(4096);
        Some(message.ok())
    }
}

/// The extent of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Go's figures are looked for.
    pub wants_go: bool,
    /// Of the target's files, the executable alone is looked at.
    pub is_shallow: bool,
}

/// memtrace's order to the spawner.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Look at a process: with its directory, and the channel to answer on.
    Look { number: u32, pid: u32, task: Task },
    /// End a look.
    End { number: u32 },
}

impl Order {
    pub fn send(&self, control: &OwnedFd, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let words = match *self {
            Self::Look { number, pid, task } => {
                let task = u32::from(task.wants_go) | u32::from(task.is_shallow) << 1;
                [number, pid, task]
            }
            Self::End { number } => [number, 0, 0],
        };
        let bytes = words.map(u32::to_le_bytes).concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
        Ok(())
    }

    /// Returns the next order with its descriptors, or `None` at the end.
    pub fn receive(control: &OwnedFd) -> io::Result<Option<(Self, Vec<OwnedFd>)>> {
        let mut bytes = [0; 12];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            control,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if read.bytes != bytes.len() {
            return Ok(None);
        }
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let word = |at: usize| {
            let word = bytes.get(4 * at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| u32::from_le_bytes(*word))
        };
        let (number, pid) = (word(0), word(1));
        let order = if fds.is_empty() {
            Self::End { number }
        } else {
            let task = Task {
                wants_go: word(2) & 1 != 0,
                is_shallow: word(2) & 2 != 0,
            };
            Self::Look { number, pid, task }
        };
        Ok(Some((order, fds)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let mut stream = Vec::new();
        for message in [
            Message::Gone,
            Message::Figures(Ok(GoFigures::default())),
            Message::Figures(Err("no".to_owned())),
        ] {
            message.send(&mut stream).unwrap();
        }
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut shown = Vec::new();
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some(message) = frames.next() {
                    shown.push(format!("{:?}", message.unwrap()));
                }
            }
            let expected = [
                "Gone",
                &format!("Figures(Ok({:?}))", GoFigures::default()),
                "Figures(Err(\"no\"))",
            ];
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_stream_of_something_else_is_left() {
        for bytes in [&[0xff; 8][..], b"\x02\0\0\0{]\x04\0\0\0\"Gone\""] {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert!(frames.next().unwrap().is_none());
            assert!(frames.next().unwrap().is_none());
        }
    }

    #[test]
    fn orders_carry_their_descriptors() {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(kind.0, kind.1, SocketFlags::CLOEXEC, None).unwrap();
        let order = Order::Look {
            number: 7,
            pid: 1234,
            task: Task {
                wants_go: false,
                is_shallow: true,
            },
        };
        order.send(&ours, &[ours.as_fd(), ours.as_fd()]).unwrap();
        Order::End { number: 8 }.send(&ours, &[]).unwrap();
        let (received, fds) = Order::receive(&theirs).unwrap().unwrap();
        assert_eq!((received, fds.len()), (order, 2));
        drop(fds);
        let (received, fds) = Order::receive(&theirs).unwrap().unwrap();
        assert_eq!((received, fds.len()), (Order::End { number: 8 }, 0));
        drop(ours);
        assert!(Order::receive(&theirs).unwrap().is_none());
    }
}
