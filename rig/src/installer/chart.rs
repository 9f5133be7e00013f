//! Chart archives, made on the spot and the same to the byte every time: Flux compares their digests.

use std::io;

/// A chart before it is packed: its name, version and files (path inside the chart, text).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Its files.
    pub files: Vec<(String, String)>,
}

impl Chart {
    /// Packs the chart as `helm package` does: a gzipped tar with one folder, named as the chart.
    ///
    /// # Errors
    /// What the archive writer says.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            // No time of packing: the same chart has the same digest for ever.
            header.set_mtime(0);
            header.set_cksum();
            tar.append_data(&mut header, format!("{}/{path}", self.name), text.as_bytes())?;
        }
        Ok(gzip(&tar.into_inner()?))
    }
}

/// The longest block that deflate stores without compression (RFC 1951, 3.2.4).
const LONGEST_BLOCK: usize = 0xffff;

/// A gzip file (RFC 1952) with its content stored as it is: archives of a few kB for loopback need no compressor.
fn gzip(content: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no extra flags, unknown system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let blocks = content.chunks(LONGEST_BLOCK).count();
    for (number, block) in content.chunks(LONGEST_BLOCK).enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        file.push(u8::from(number + 1 == blocks));
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&(!length).to_le_bytes());
        file.extend_from_slice(block);
    }
    file.extend_from_slice(&crc32(content).to_le_bytes());
    file.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    file
}

/// CRC-32 as gzip has it (RFC 1952, 8), bit by bit.
fn crc32(content: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in content {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_checksum_is_the_standard_one() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
