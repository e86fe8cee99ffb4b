//! One connection to a socket of OVS, whatever is spoken on it: bytes wait to be sent, bytes are read, and silence is
//! noticed.
//!
//! Every step may be given up half way (`select!`): nothing that was read or not yet written is lost.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

/// How long an answer, or a piece of it, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After so much silence we ask whether the other side is still there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Room made for each read.
const READ_CHUNK: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    stream: UnixStream,
    outgoing: Vec<u8>,
    last_heard: Instant,
    probed: bool,
}

/// Why nothing could be read.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The connection broke.
    Io(io::Error),
    /// The other side hung up.
    Closed,
    /// The other side says nothing, for so many seconds.
    Silent {
        /// Since when.
        seconds: u64,
    },
}

impl Link {
    /// Connects.
    pub(super) async fn connect(socket: &Path) -> io::Result<Link> {
        Ok(Link {
            socket: socket.to_owned(),
            stream: UnixStream::connect(socket).await?,
            outgoing: Vec::new(),
            last_heard: Instant::now(),
            probed: false,
        })
    }

    /// Where it leads.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Puts bytes into the queue; they leave with the next read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.outgoing.extend(bytes);
    }

    /// Until when an answer may take.
    pub(super) fn answer_deadline() -> Instant {
        Instant::now() + ANSWER_TIMEOUT
    }

    /// Until when silence is nothing special: first until it is time to ask, then until an answer is due.
    pub(super) fn news_deadline(&self) -> Instant {
        let patience = if self.probed { PROBE_AFTER + ANSWER_TIMEOUT } else { PROBE_AFTER };
        self.last_heard + patience
    }

    /// Whether the silence is the first since something was heard, so that a sign of life may be asked for; it counts
    /// as asked then.
    pub(super) fn may_probe(&mut self) -> bool {
        !std::mem::replace(&mut self.probed, true)
    }

    /// Sends what waits, and reads what there is to the end of `into`.
    pub(super) async fn read(
        &mut self,
        into: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        self.flush().await.map_err(LinkError::Io)?;
        into.reserve(READ_CHUNK);
        match timeout_at(deadline, self.stream.read_buf(into)).await {
            Err(_) => Err(LinkError::Silent { seconds: self.last_heard.elapsed().as_secs() }),
            Ok(Ok(0)) => Err(LinkError::Closed),
            Ok(Ok(_)) => {
                self.last_heard = Instant::now();
                self.probed = false;
                Ok(())
            }
            Ok(Err(error)) => Err(LinkError::Io(error)),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let written = self.stream.write(&self.outgoing).await?;
            self.outgoing.drain(..written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A link and the other side of it.
    async fn pair() -> (Link, UnixStream, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let link = Link::connect(&socket).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        (link, other, directory)
    }

    #[tokio::test]
    async fn what_is_sent_leaves_with_the_next_read() {
        let (mut link, mut other, _directory) = pair().await;
        link.send(b"question");
        other.write_all(b"answer").await.unwrap();
        let mut read = b"so far: ".to_vec();
        link.read(&mut read, Link::answer_deadline()).await.unwrap();
        assert_eq!(read, b"so far: answer");
        let mut heard = [0; 8];
        other.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"question");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_once_and_then_is_an_error() {
        let (mut link, _other, _directory) = pair().await;
        let mut nothing = Vec::new();
        let deadline = link.news_deadline();
        link.read(&mut nothing, deadline).await.unwrap_err();
        assert!(link.may_probe());
        assert_eq!(link.news_deadline() - deadline, ANSWER_TIMEOUT, "an answer may take its time");
        let deadline = link.news_deadline();
        let silent = link.read(&mut nothing, deadline).await.unwrap_err();
        assert!(matches!(silent, LinkError::Silent { seconds: 40 }), "{silent:?}");
        assert!(!link.may_probe());
    }

    #[tokio::test]
    async fn a_sign_of_life_ends_the_doubt() {
        let (mut link, mut other, _directory) = pair().await;
        assert!(link.may_probe());
        other.write_all(b"here").await.unwrap();
        link.read(&mut Vec::new(), Link::answer_deadline()).await.unwrap();
        assert!(link.may_probe(), "the next silence is a new one");
    }

    #[tokio::test]
    async fn the_other_side_may_hang_up() {
        let (mut link, other, _directory) = pair().await;
        drop(other);
        let closed = link.read(&mut Vec::new(), Link::answer_deadline()).await;
        assert!(matches!(closed, Err(LinkError::Closed)), "{closed:?}");
    }
}
