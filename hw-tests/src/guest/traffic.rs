//! Sends frames from one namespace and sees what arrives in another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::frame::Marker;
use super::netns::{Netns, enter_thread};
use super::packet_socket::PacketSocket;

/// How long to wait for frames that are to arrive. Under TCG on a busy machine the first packet of a flow takes its time.
pub const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait for frames that are not to arrive. Those that do arrive take milliseconds.
pub const ABSENCE_TIME: Duration = Duration::from_millis(700);
/// How often a capture looks whether it is over.
const TICK: Duration = Duration::from_millis(20);

/// Sends frames out of a link in a namespace.
pub fn send(netns: &Netns, link: &str, frames: &[Vec<u8>]) -> anyhow::Result<()> {
    netns.enter(|| {
        let socket = PacketSocket::open(link)?;
        frames
            .iter()
            .try_for_each(|frame| socket.send(frame))
            .with_context(|| format!("cannot send from {link}"))
    })
}

/// What arrives at a link with a marker in it. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Begins to listen at a link in a namespace; once this returns, no frame is missed.
    pub fn start(netns: &Netns, link: &str, marker: Marker) -> anyhow::Result<Self> {
        Self::spawn(Some(netns.name().to_owned()), link, marker)
    }

    /// As [`Capture::start`], at a link in the first namespace.
    pub fn start_here(link: &str, marker: Marker) -> anyhow::Result<Self> {
        Self::spawn(None, link, marker)
    }

    fn spawn(netns: Option<String>, link: &str, marker: Marker) -> anyhow::Result<Self> {
        let (frames, over) = (Arc::default(), Arc::default());
        let (ready, opened) = mpsc::channel();
        let link = link.to_owned();
        let thread = std::thread::spawn({
            let (frames, over) = (Arc::clone(&frames), Arc::clone(&over));
            move || match netns
                .map_or(Ok(()), |name| enter_thread(&name))
                .and_then(|()| PacketSocket::open(&link))
            {
                Ok(socket) => {
                    // Whoever started us waits for this.
                    let _ = ready.send(Ok(()));
                    collect(&socket, marker, &frames, &over);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let capture = Self { frames, over, thread: Some(thread) };
        opened.recv().unwrap_or_else(|_| Err(anyhow!("the capture ended before it began")))?;
        Ok(capture)
    }

    /// Waits until that many frames have arrived, or until the time for it is over, and gives what arrived.
    #[must_use]
    pub fn expect(self, count: usize) -> Vec<Vec<u8>> {
        let until = Instant::now() + ARRIVAL_LIMIT;
        while Instant::now() < until && self.count() < count {
            std::thread::sleep(TICK);
        }
        // One too many shows only a moment later.
        std::thread::sleep(TICK);
        self.take()
    }

    /// Waits a while and gives what arrived, for frames that should not.
    #[must_use]
    pub fn expect_none(self) -> Vec<Vec<u8>> {
        std::thread::sleep(ABSENCE_TIME);
        self.take()
    }

    /// How many frames have arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        self.frames.lock().map_or(0, |frames| frames.len())
    }

    fn take(self) -> Vec<Vec<u8>> {
        self.frames.lock().map(|mut frames| std::mem::take(&mut *frames)).unwrap_or_default()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn collect(socket: &PacketSocket, marker: Marker, frames: &Mutex<Vec<Vec<u8>>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let Ok(Some(frame)) = socket.receive(TICK) else { continue };
        if marker.is_in(&frame)
            && let Ok(mut frames) = frames.lock()
        {
            frames.push(frame);
        }
    }
}
