//! What compresses one body, and the memory that it takes.

use super::coding::Coding;
use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use std::io;

/// The largest frame that is made.
const FRAME: usize = 16 * 1024;

/// The room of a frame for a body that is short.
const MIN_FRAME: usize = 512;

/// How far back an encoder looks for what it has seen before: 256 KiB, which a decoder must be able to keep too.
/// Longer windows gain some percent for bodies of megabytes, and cost each response as much as they are long.
const WINDOW_LOG: u32 = 18;

/// Brotli keeps twice as much and its tables as well, and loses a fiftieth by half the window.
const BROTLI_WINDOW_LOG: u32 = 17;

/// The shortest window that there is.
const MIN_WINDOW_LOG: u32 = 10;

/// Brotli's table of that quality fits its window; those above take some MiB more each, and compress long bodies less.
const MAX_BROTLI: u8 = 4;

/// Above this level zstd's tables grow to tens of MiB, and are held to what the lower ones have.
const MAX_ZSTD_TABLES: u8 = 3;

/// The body of one response on its way through an encoder.
pub(super) struct Encoder {
    encode: Box<dyn EncodeV2 + Send>,
    frame: Box<[u8]>,
    /// How much of the frame is full.
    filled: usize,
    /// Whether something went in that may not have come out.
    holds: bool,
}

impl Encoder {
    /// For a body of `length` bytes, if that is known; `level` is from 1 to 9, or each coding's default.
    pub(super) fn new(coding: Coding, level: Option<u8>, length: Option<u64>) -> Self {
        let window = length.map_or(WINDOW_LOG, window_log);
        let whole = length.and_then(|length| usize::try_from(length).ok());
        let frame = whole.map_or(FRAME, |whole| whole.clamp(MIN_FRAME, FRAME));
        Self {
            encode: match coding {
                Coding::Zstd => Box::new(zstd(level.unwrap_or(3), window)),
                Coding::Brotli => Box::new(brotli(level.unwrap_or(MAX_BROTLI), window)),
                Coding::Gzip => Box::new(GzipEncoder::new(deflate(level).into())),
                Coding::Deflate => Box::new(ZlibEncoder::new(deflate(level).into())),
            },
            frame: vec![0; frame].into(),
            filled: 0,
            holds: false,
        }
    }

    /// Puts `input` in until the frame is full; how much of it went in.
    pub(super) fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        self.holds = true;
        let mut input = PartialBuffer::new(input);
        while !input.unwritten().is_empty() && !self.is_full() {
            let before = (input.written_len(), self.filled);
            self.run(|encode, output| encode.encode(&mut input, output))?;
            if before == (input.written_len(), self.filled) {
                return Err(io::Error::other("the encoder stands still"));
            }
        }
        Ok(input.written_len())
    }

    /// Brings out what went in; whether that is all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let is_flushed = self.run(|encode, output| encode.flush(output))?;
        self.holds = !is_flushed;
        Ok(is_flushed)
    }

    /// Brings out what went in and the end of the stream; whether that is all.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        self.run(|encode, output| encode.finish(output))
    }

    /// Whether the frame must be taken before anything else is done.
    pub(super) fn is_full(&self) -> bool {
        self.filled == self.frame.len()
    }

    /// Whether something waits to be flushed.
    pub(super) fn holds(&self) -> bool {
        self.holds || self.filled > 0
    }

    /// What has come out, if anything. A copy, which is as long as it need be: one that waits for a slow client does
    /// not keep the room of a whole frame.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let frame = &self.frame[..std::mem::take(&mut self.filled)];
        (!frame.is_empty()).then(|| Bytes::copy_from_slice(frame))
    }

    fn run<T>(
        &mut self,
        step: impl FnOnce(&mut dyn EncodeV2, &mut WriteBuffer<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut output = WriteBuffer::new_initialized(&mut self.frame[self.filled..]);
        let result = step(&mut *self.encode, &mut output);
        self.filled += output.written_len();
        result
    }
}

/// The shortest window that holds so many bytes, and no longer than ours.
fn window_log(length: u64) -> u32 {
    let needed = u64::BITS - length.saturating_sub(1).leading_zeros();
    needed.clamp(MIN_WINDOW_LOG, WINDOW_LOG)
}

fn zstd(level: u8, window: u32) -> ZstdEncoder {
    let mut parameters = vec![CParameter::window_log(window)];
    if level > MAX_ZSTD_TABLES {
        parameters.extend([CParameter::hash_log(17), CParameter::chain_log(17)]);
    }
    ZstdEncoder::new_with_params(level.into(), &parameters)
}

fn brotli(level: u8, window: u32) -> BrotliEncoder {
    let quality = Level::Precise(level.min(MAX_BROTLI).into());
    let parameters = EncoderParams::default().quality(quality);
    let window = window.min(BROTLI_WINDOW_LOG).cast_signed();
    BrotliEncoder::new(parameters.window_size(window))
}

fn deflate(level: Option<u8>) -> flate2::Compression {
    flate2::Compression::new(level.unwrap_or(6).into())
}
