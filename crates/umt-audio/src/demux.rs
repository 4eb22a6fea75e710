//! Compressed audio: packets from the container to the decoder, and what the headers ask to be
//! left out of the result.

use crate::{
    aac,
    container::Container,
    error::{be32, convert, truncated},
    mp4::{self, AAC_PRIMING, AudioTrack},
    mpeg,
    resample::check_rate,
    vorbis,
    waveform::Waveform,
};
use std::{
    io::{Cursor, ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
};
use symphonia::{
    core::{
        codecs::{
            CodecParameters,
            audio::{
                AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
                well_known::{CODEC_ID_AAC, CODEC_ID_MP3, CODEC_ID_VORBIS},
            },
        },
        errors::Error,
        formats::{FormatOptions, FormatReader, TrackType},
        io::{MediaSource, MediaSourceStream, ReadOnlySource},
        packet::Packet,
        units::{Duration, Timestamp},
    },
    default::{
        formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, OggReader},
        get_codecs,
    },
};
use umt_media::{Limits, MediaError};

/// What was decoded so far.
struct Output<'a> {
    decoder: Box<dyn AudioDecoder>,
    wave: Waveform,
    planes: Vec<Vec<f32>>,
    /// The most samples of all channels.
    most: u64,
    limits: &'a Limits,
}

impl<'a> Output<'a> {
    fn new(params: &AudioCodecParameters, verify: bool, size: usize, limits: &'a Limits) -> Result<Self, MediaError> {
        let options = AudioDecoderOptions::default().verify(verify);
        let decoder = get_codecs().make_audio_decoder(params, &options).map_err(explain)?;
        let wave = Waveform { rate: 0, channels: Vec::new(), by_ffmpeg: false };
        Ok(Self { decoder, wave, planes: Vec::new(), most: limits.samples_of(size), limits })
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), MediaError> {
        let decoded = self.decoder.decode(packet).map_err(explain)?;
        let (rate, count) = (decoded.spec().rate(), decoded.num_planes());
        let wave = &mut self.wave;
        if wave.channels.is_empty() {
            check_rate(rate)?;
            Limits::check("audio channels", count as u64, self.limits.max_channels)?;
            *wave = Waveform { rate, channels: vec![Vec::new(); count], by_ffmpeg: false };
        }
        if wave.rate != rate || wave.channels.len() != count {
            return Err(convert("an audio track whose rate or channels change"));
        }
        let total = ((wave.len() + decoded.frames()) * count) as u64;
        Limits::check("audio length in samples of all channels", total, self.most)?;
        decoded.copy_to_vecs_planar(&mut self.planes);
        for (channel, plane) in wave.channels.iter_mut().zip(&self.planes) {
            channel.extend_from_slice(plane);
        }
        Ok(())
    }
}

pub(crate) fn run(container: &Container, body: &[u8], limits: &Limits) -> Result<Waveform, MediaError> {
    if *container == Container::Mp3 {
        return mp3(body, limits);
    }
    let mut reader = open(container, body).map_err(explain)?;
    let Some(track) = reader.default_track(TrackType::Audio) else {
        return Err(match container {
            Container::Mp4(tracks) if !tracks.is_empty() => mp4::unread(&tracks[0].codec),
            _ => MediaError::Missing { what: "audio track".into() },
        });
    };
    let Some(CodecParameters::Audio(mut params)) = track.codec_params.clone() else {
        return Err(match container {
            Container::Mp4(tracks) if !tracks.is_empty() => mp4::unread(&tracks[0].codec),
            Container::Mkv { .. } | Container::Ogg => convert("the codec of the audio track"),
            _ => MediaError::Missing { what: "audio track".into() },
        });
    };
    let (id, declared) = (track.id, track.num_frames);
    let is_aac = params.codec == CODEC_ID_AAC;
    match &mut params.extra_data {
        Some(config) if is_aac => aac::check_config(config)?,
        Some(headers) if params.codec == CODEC_ID_VORBIS => vorbis::prepare(headers)?,
        _ => (),
    }
    // A sample entry of mp4 holds 65,535 Hz at most; AAC's own configuration is what counts.
    if let Some(rate) = params.sample_rate.filter(|_| !is_aac) {
        check_rate(rate)?;
    }
    if let Some(channels) = &params.channels {
        Limits::check("audio channels", channels.count() as u64, limits.max_channels)?;
    }
    let output = Output::new(&params, *container == Container::Flac, body.len(), limits);
    let mut output = output.map_err(|error| match (&error, container) {
        (MediaError::Unsupported { .. }, Container::Mp4(tracks)) => {
            tracks.iter().find(|track| track.id == id).map_or(error, |track| mp4::unread(&track.codec))
        }
        _ => error,
    })?;
    let mut replication = aac::Replication::default();
    // A packet takes a byte of the file at least.
    for _ in 0..=body.len() {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // The sizes were followed to the end before; the demuxer looks for one more element.
            Err(Error::IoError(error)) if ended(container, &error) => break,
            Err(error) => return Err(explain(error)),
        };
        if packet.track_id != id {
            continue;
        }
        if is_aac {
            replication.look_at(&packet.data);
        }
        output.decode(&packet)?;
    }
    if replication.found() {
        return Err(aac::he_aac());
    }
    if output.decoder.finalize().verify_ok == Some(false) {
        return Err(MediaError::malformed("flac stream", "its MD5 sum does not fit the samples"));
    }
    let mut wave = output.wave;
    let exact = matches!(container, Container::Flac | Container::Mp4(_));
    let decoded = wave.len() as u64;
    if let Some(declared) = declared.filter(|&declared| exact && decoded < declared) {
        let reason = format!("declares {declared} samples, {decoded} are there");
        return Err(MediaError::malformed("audio track", reason));
    }
    match container {
        Container::Mp4(tracks) => {
            apply_edits(&mut wave, tracks.iter().find(|t| t.id == id), is_aac, limits)?;
        }
        Container::Mkv { delay, .. } if is_aac => {
            let samples = u128::from(*delay) * u128::from(wave.rate) / 1_000_000_000;
            let skip = usize::try_from(samples).unwrap_or(usize::MAX).min(wave.len());
            wave.channels.iter_mut().for_each(|channel| drop(channel.drain(..skip)));
        }
        _ => (),
    }
    Ok(wave)
}

/// Whether a stream without sizes has come to its end.
fn ended(container: &Container, error: &std::io::Error) -> bool {
    matches!(container, Container::Mkv { open: true, .. }) && error.kind() == ErrorKind::UnexpectedEof
}

fn open<'a>(container: &Container, body: &'a [u8]) -> Result<Box<dyn FormatReader + 'a>, Error> {
    let source: Box<dyn MediaSource + 'a> = match container {
        Container::Flac => Box::new(ReadOnlySource::new(bare_flac(body))),
        // The demuxer asks for a file type; one at the end moves no offset.
        Container::Mp4(_) if body.get(4..8) != Some(b"ftyp") => {
            Box::new(Patience::new([body, b"\0\0\0\x10ftypqt  \0\0\0\0"].concat()))
        }
        _ => Box::new(Patience::new(body)),
    };
    let stream = MediaSourceStream::new(source, Default::default());
    let options = FormatOptions::default();
    Ok(match container {
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Mkv { .. } => Box::new(MkvReader::try_new(stream, options)?),
        Container::Mp4(_) => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Wav | Container::Mp3 => return Err(Error::Unsupported("a container that is read elsewhere")),
    })
}

/// A source that ends with an error when it is asked too often: a damaged file can send a demuxer
/// round in a circle.
struct Patience<T> {
    source: Cursor<T>,
    left: usize,
}

impl<T: AsRef<[u8]>> Patience<T> {
    fn new(bytes: T) -> Self {
        // A demuxer reads kilobytes at once; one call for 64 bytes is far more than any file needs.
        let left = 4096 + bytes.as_ref().len() / 64;
        Self { source: Cursor::new(bytes), left }
    }

    fn call(&mut self) -> std::io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| std::io::Error::other("the file leads in a circle"))?;
        Ok(())
    }
}

impl<T: AsRef<[u8]>> Read for Patience<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.call()?;
        self.source.read(buffer)
    }
}

impl<T: AsRef<[u8]>> Seek for Patience<T> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.call()?;
        self.source.seek(to)
    }
}

impl<T: AsRef<[u8]> + Send + Sync> MediaSource for Patience<T> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.source.get_ref().as_ref().len() as u64)
    }
}

/// The stream with its first metadata block alone, which describes the audio. The others (cue sheet,
/// seek table, tags, pictures) are not needed, so nothing odd in them is an error.
fn bare_flac(body: &[u8]) -> impl Read + Send + Sync + '_ {
    let (mut at, mut first) = (4, None);
    while let Some(header) = be32(body, at) {
        let end = at + 4 + (header & 0xFF_FFFF) as usize;
        if first.is_none() && header >> 24 & 0x7F == 0 {
            first = body.get(at + 4..end);
        }
        at = end;
        if header >> 31 == 1 {
            break;
        }
    }
    let info = first.unwrap_or_default();
    let mut head = b"fLaC\x80".to_vec();
    head.extend(&(info.len() as u32).to_be_bytes()[1..]);
    head.extend(info);
    Cursor::new(head).chain(body.get(at..).unwrap_or_default())
}

fn mp3(body: &[u8], limits: &Limits) -> Result<Waveform, MediaError> {
    let mp3 = mpeg::read(body)?;
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_MP3).with_sample_rate(mp3.rate);
    let mut output = Output::new(&params, false, body.len(), limits)?;
    for (index, frame) in mp3.frames.iter().enumerate() {
        let start = Timestamp::from((index * mp3.frame_samples) as i64);
        output.decode(&Packet::new(0, start, Duration::from(mp3.frame_samples as u64), *frame))?;
    }
    let mut wave = output.wave;
    let end = wave.len().saturating_sub(mp3.padding);
    for channel in &mut wave.channels {
        channel.truncate(end);
        channel.drain(..mp3.delay.min(end));
    }
    Ok(wave)
}

/// Keeps the parts that the edit list plays.
fn apply_edits(wave: &mut Waveform, track: Option<&AudioTrack>, aac: bool, limits: &Limits) -> Result<(), MediaError> {
    let rate = u128::from(wave.rate);
    let length = wave.len();
    let samples = |ticks: u64, scale: u32| {
        let rounded = (u128::from(ticks) * rate + u128::from(scale) / 2) / u128::from(scale);
        usize::try_from(rounded).unwrap_or(usize::MAX)
    };
    let edits: Vec<Range<usize>> = match track {
        Some(AudioTrack { edits: Some(edits), timescale, .. }) if !edits.is_empty() => edits
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
    // A list of many edits could play the same part again and again.
    let most = limits.samples_of(4 * length * wave.channels.len());
    Limits::check("audio length in samples", total.saturating_mul(wave.channels.len() as u64), most)?;
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
        Error::Unsupported(what) => convert(&format!("this audio stream ({what})")),
        Error::ResetRequired => convert("a file of several audio streams in a row"),
        other => MediaError::malformed("audio stream", other.to_string()),
    }
}
