//! Free ports on 127.0.0.1, in blocks, so that several clusters run side by side and a server that is killed finds its
//! port free when it starts again.
//!
//! A supervisor listens on the first port of its block for as long as it lives: that port is both its control port and
//! the mark that the block is taken. The range lies below the ephemeral ports (32768 to 60999 on Linux,
//! `net.ipv4.ip_local_port_range`), so that no outgoing connection takes one in between.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::RigError;

const FIRST: u16 = 20_000;
const LAST: u16 = 32_700;
const BLOCK: u16 = 16;

/// A block of ports of one cluster.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    control: TcpListener,
}

/// What a port of the block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The supervisor itself.
    Control = 0,
    /// etcd's clients.
    Etcd = 1,
    /// The API server.
    ApiServer = 2,
    /// The second API server.
    SecondApiServer = 3,
    /// helm-controller's metrics.
    HelmMetrics = 4,
    /// helm-controller's health probe.
    HelmHealth = 5,
    /// Charts over HTTP, in place of source-controller.
    Charts = 6,
    /// The installer's chart repository, and whether it has done its first round.
    Installer = 7,
    /// An S3 server.
    S3 = 8,
}

impl PortBlock {
    /// Takes a block in which every port is free now.
    ///
    /// # Errors
    /// [`RigError::Ports`] when there is none.
    pub fn take() -> Result<Self, RigError> {
        let blocks = (LAST - FIRST) / BLOCK;
        // Starting at a place that depends on the process keeps clusters that start together from trying the same one.
        let start = u16::try_from(std::process::id() % u32::from(blocks)).unwrap_or(0);
        for step in 0..blocks {
            let first = FIRST + ((start + step) % blocks) * BLOCK;
            let Ok(control) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
            let others_are_free =
                (first + 1..first + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
            if others_are_free {
                return Ok(Self { first, control });
            }
        }
        Err(RigError::Ports { size: BLOCK, first: FIRST, last: LAST })
    }

    /// The port for a purpose.
    pub fn port(&self, purpose: Purpose) -> u16 {
        self.first + purpose as u16
    }

    /// The listener on the control port.
    ///
    /// # Errors
    /// When the system has no more file descriptors.
    pub fn control(&self) -> std::io::Result<TcpListener> {
        self.control.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_for_as_long_as_it_is_held() {
        let one = PortBlock::take().unwrap();
        let other = PortBlock::take().unwrap();
        let distance = one.port(Purpose::Control).abs_diff(other.port(Purpose::Control));
        assert!(distance >= BLOCK, "blocks do not overlap");
        const { assert!(LAST < 32_768, "below the ephemeral ports") };

        // A block is also left alone when a port other than its first is in use.
        let again = one.port(Purpose::Control);
        drop(one);
        let _stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, again + 1)).unwrap();
        assert_ne!(PortBlock::take().unwrap().port(Purpose::Control), again);
    }
}
