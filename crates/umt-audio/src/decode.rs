//! Bytes to a waveform.

use crate::{
    container::{self, Container, truncated},
    mp4::{AAC_PRIMING, SoundTrack},
    resample::check_rate,
};
use std::{
    io::{Cursor, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};
use symphonia::{
    core::{
        codecs::{
            CodecParameters,
            audio::{AudioDecoderOptions, well_known::CODEC_ID_AAC},
        },
        errors::Error,
        formats::{FormatOptions, FormatReader, TrackType},
        io::MediaSourceStream,
    },
    default::{
        formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader},
        get_codecs,
    },
};
use umt_media::{Limits, MediaError};

/// Sound as it is in the file: its own rate, every channel, full scale at one.
#[derive(Clone, Debug, PartialEq)]
pub struct Waveform {
    /// Samples per second.
    pub rate: u32,
    /// One vector per channel, all of the same length, never empty.
    pub channels: Vec<Vec<f32>>,
}

impl Waveform {
    /// The mean over the channels.
    pub fn mono(&self) -> Vec<f32> {
        let Some((first, others)) = self.channels.split_first() else {
            return Vec::new();
        };
        let mut sum = first.clone();
        if others.is_empty() {
            return sum;
        }
        for channel in others {
            for (s, x) in sum.iter_mut().zip(channel) {
                *s += x;
            }
        }
        let scale = 1.0 / self.channels.len() as f32;
        sum.iter_mut().for_each(|s| *s *= scale);
        sum
    }

    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Decodes wav, mp3, flac, ogg vorbis, or AAC in mp4, m4a, mkv or its own framing.
///
/// The container is told from the first bytes; `extension` only names the file in an error.
/// Encoder delay and padding are dropped where the file tells them: edit list of mp4 (1,024 samples
/// of AAC without one), codec delay of matroska, the LAME tag of mp3, the last page of ogg.
///
/// # Errors
/// [`MediaError::Missing`] if there is no sound in the file, [`MediaError::Limit`] before memory
/// is set aside for more than `limits` allow, [`MediaError::Unsupported`] for a codec that is not
/// read (HE-AAC, Opus), and [`MediaError::Malformed`] for all else, a file that ends early included.
/// Not noticed is a cut at exactly a fragment of a fragmented mp4, at a cluster of a live matroska
/// stream, or at a frame of an mp3 without a Xing tag: nothing in such a file tells its length.
pub fn decode(bytes: &[u8], extension: Option<&str>, limits: &Limits) -> Result<Waveform, MediaError> {
    Limits::check("audio file size", bytes.len() as u64, limits.max_file_bytes)?;
    let (container, body) = container::inspect(bytes, extension, limits)?;
    // The decoders are fuzzed, yet a panic in one of them must not end a run of days.
    let wave = catch_unwind(AssertUnwindSafe(|| run(&container, body, limits)))
        .unwrap_or_else(|_| Err(MediaError::malformed("audio stream", "the decoder gave up")))?;
    if wave.is_empty() {
        return Err(MediaError::Missing { what: "audio sample (the track is empty)".into() });
    }
    if wave.channels.iter().flatten().any(|x| !x.is_finite()) {
        return Err(MediaError::malformed("audio stream", "a sample is not a finite number"));
    }
    Ok(wave)
}

fn open<'a>(container: &Container, body: &'a [u8]) -> Result<Box<dyn FormatReader + 'a>, Error> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(body)), Default::default());
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Mkv { .. } => Box::new(MkvReader::try_new(stream, options)?),
        Container::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
        Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Mp4(_) => Box::new(IsoMp4Reader::try_new(stream, options)?),
    })
}

fn run(container: &Container, body: &[u8], limits: &Limits) -> Result<Waveform, MediaError> {
    let mut reader = open(container, body).map_err(explain)?;
    let Some(track) = reader.default_track(TrackType::Audio) else {
        return Err(match container {
            Container::Mp4(tracks) if !tracks.is_empty() => {
                MediaError::unsupported("the codec of the audio track", "it is not AAC")
            }
            _ => MediaError::Missing { what: "audio track".into() },
        });
    };
    let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else {
        return Err(MediaError::Missing { what: "audio track".into() });
    };
    let (id, declared) = (track.id, track.num_frames);
    if let Some(rate) = params.sample_rate {
        check_rate(rate)?;
    }
    if let Some(channels) = &params.channels {
        Limits::check("audio channels", channels.count() as u64, limits.max_channels)?;
    }
    let options = AudioDecoderOptions::default().verify(*container == Container::Flac);
    let mut decoder = get_codecs().make_audio_decoder(&params, &options).map_err(explain)?;
    let aac = params.codec == CODEC_ID_AAC;

    let mut wave = Waveform { rate: 0, channels: Vec::new() };
    let mut planes: Vec<Vec<f32>> = Vec::new();
    let mut last_packet: Box<[u8]> = Box::default();
    while let Some(packet) = reader.next_packet().map_err(explain)? {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(explain)?;
        let (rate, count) = (decoded.spec().rate(), decoded.num_planes());
        if wave.channels.is_empty() {
            check_rate(rate)?;
            Limits::check("audio channels", count as u64, limits.max_channels)?;
            wave = Waveform { rate, channels: vec![Vec::new(); count] };
        }
        if wave.rate != rate || wave.channels.len() != count {
            return Err(MediaError::unsupported(
                "an audio track whose rate or channels change",
                "encode it with one of each",
            ));
        }
        let total = (wave.len() + decoded.frames()) as u64;
        Limits::check("audio length in samples", total, limits.max_samples)?;
        decoded.copy_to_vecs_planar(&mut planes);
        for (channel, plane) in wave.channels.iter_mut().zip(&planes) {
            channel.extend_from_slice(plane);
        }
        if *container == Container::Mp3 {
            last_packet = packet.data;
        }
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(MediaError::malformed("flac stream", "its MD5 sum does not fit the samples"));
    }
    check_whole(container, body, declared, wave.len() as u64, &last_packet)?;
    match container {
        Container::Mp4(tracks) => {
            apply_edits(&mut wave, tracks.iter().find(|t| t.id == id), aac, limits)?;
        }
        Container::Mkv { delay } if aac => {
            let samples = u128::from(*delay) * u128::from(wave.rate) / 1_000_000_000;
            let skip = usize::try_from(samples).unwrap_or(usize::MAX).min(wave.len());
            wave.channels.iter_mut().for_each(|channel| drop(channel.drain(..skip)));
        }
        _ => (),
    }
    Ok(wave)
}

/// Compares what was decoded with what the headers declared.
fn check_whole(
    container: &Container,
    body: &[u8],
    declared: Option<u64>,
    decoded: u64,
    last_packet: &[u8],
) -> Result<(), MediaError> {
    let exact = match container {
        Container::Wav | Container::Flac | Container::Mp4(_) => true,
        // Without a tag in its first frame, the length of an mp3 is the demuxer's estimate.
        Container::Mp3 => {
            let first = &body[..body.len().min(256)];
            first.windows(4).any(|w| matches!(w, b"Xing" | b"Info" | b"VBRI"))
        }
        Container::Ogg | Container::Mkv { .. } | Container::Adts => false,
    };
    match declared {
        Some(declared) if exact && decoded < declared => {
            return Err(MediaError::malformed(
                "audio track",
                format!("declares {declared} samples, {decoded} are there"),
            ));
        }
        _ => (),
    }
    if *container == Container::Mp3 && !last_packet.is_empty() {
        // What follows the last whole frame is a tag or padding; the start of a frame is a cut.
        let at = body.windows(last_packet.len()).rposition(|w| w == last_packet);
        let rest = at.map_or(&[][..], |at| &body[at + last_packet.len()..]);
        if matches!(rest, [0xFF] | [0xFF, 0xE0..=0xFF, ..]) {
            return Err(truncated("mp3 frame"));
        }
    }
    Ok(())
}

/// Keeps the parts that the edit list plays.
fn apply_edits(wave: &mut Waveform, track: Option<&SoundTrack>, aac: bool, limits: &Limits) -> Result<(), MediaError> {
    let rate = u128::from(wave.rate);
    let length = wave.len();
    let samples = |ticks: u64, scale: u32| {
        let rounded = (u128::from(ticks) * rate + u128::from(scale) / 2) / u128::from(scale);
        usize::try_from(rounded).unwrap_or(usize::MAX)
    };
    let edits: Vec<Range<usize>> = match track {
        Some(SoundTrack { edits: Some(edits), timescale, .. }) if !edits.is_empty() => edits
            .iter()
            .map(|edit| {
                let start = samples(edit.start, *timescale).min(length);
                let (ticks, scale) = edit.length;
                let part = if ticks == 0 { usize::MAX } else { samples(ticks, scale) };
                start..start.saturating_add(part).min(length)
            })
            .collect(),
        _ if aac => std::iter::once((AAC_PRIMING as usize).min(length)..length).collect(),
        _ => return Ok(()),
    };
    let total: u64 = edits.iter().map(|e| e.len() as u64).sum();
    Limits::check("audio length in samples", total, limits.max_samples)?;
    for channel in &mut wave.channels {
        if let [only] = edits.as_slice() {
            channel.truncate(only.end);
            channel.drain(..only.start);
        } else {
            *channel = edits.iter().flat_map(|e| &channel[e.clone()]).copied().collect();
        }
    }
    Ok(())
}

fn explain(error: Error) -> MediaError {
    match error {
        Error::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => truncated("audio stream"),
        Error::Unsupported(what) => MediaError::unsupported("this audio stream", what),
        Error::ResetRequired => {
            MediaError::unsupported("a file of several audio streams in a row", "split it into one file each")
        }
        other => MediaError::malformed("audio stream", other.to_string()),
    }
}
