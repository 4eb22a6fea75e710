//! Wav as writers leave it: sizes of pipes, containers wider than their samples, RF64, logarithmic codes.

mod common;

use common::decode;
use umt_media::MediaError;

fn chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    let mut out = [&id[..], &size.to_le_bytes(), body].concat();
    out.extend(vec![0; body.len() % 2]);
    out
}

fn format(tag: u16, channels: u16, align: u16, bits: u16) -> Vec<u8> {
    let mut body = [tag, channels].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    body.extend(16_000u32.to_le_bytes());
    body.extend((16_000 * u32::from(align)).to_le_bytes());
    body.extend([align, bits].iter().flat_map(|x| x.to_le_bytes()));
    body
}

fn whole(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &body].concat()
}

fn pcm16() -> (Vec<u8>, Vec<f32>) {
    let values: Vec<i16> = (0..300).map(|i| (i * 97 - 14_000) as i16).collect();
    let expected = values.iter().map(|&x| f32::from(x) / 32768.0).collect();
    (values.iter().flat_map(|x| x.to_le_bytes()).collect(), expected)
}

#[test]
fn sizes_that_a_pipe_left_open_and_wrong_riff_sizes_are_read_to_the_end() {
    let (body, expected) = pcm16();
    let fmt = chunk(b"fmt ", 16, &format(1, 1, 2, 16));
    for size in [u32::MAX, 0, 0x7FFF_F000, 0x7FFF_FF00, 0x8000_0000, body.len() as u32] {
        let mut bytes = whole(&[fmt.clone(), chunk(b"data", size, &body)]);
        for riff in [u32::MAX, 0, bytes.len() as u32 - 8, bytes.len() as u32 - 16, 0x7FFF_F024] {
            bytes[4..8].copy_from_slice(&riff.to_le_bytes());
            let wave = decode(&bytes).unwrap_or_else(|error| panic!("{size:x} {riff:x}: {error}"));
            assert_eq!(wave.channels, std::slice::from_ref(&expected), "{size:x} {riff:x}");
        }
    }
}

#[test]
fn an_empty_chunk_before_others_is_empty_and_several_are_one() {
    let (body, expected) = pcm16();
    let fmt = chunk(b"fmt ", 16, &format(1, 1, 2, 16));
    let list = chunk(b"LIST", 4, b"INFO");
    let empty = whole(&[fmt.clone(), chunk(b"data", 0, &[]), list.clone()]);
    assert!(matches!(decode(&empty).unwrap_err(), MediaError::Missing { .. }));
    let (first, second) = body.split_at(200);
    let two = whole(&[fmt, chunk(b"data", 200, first), list, chunk(b"data", 400, second)]);
    assert_eq!(decode(&two).unwrap().channels, [expected]);
}

#[test]
fn the_64_bit_form_is_read() {
    let (body, expected) = pcm16();
    let mut sizes = vec![0; 28];
    sizes[8..16].copy_from_slice(&(body.len() as u64).to_le_bytes());
    let chunks =
        [chunk(b"ds64", 28, &sizes), chunk(b"fmt ", 16, &format(1, 1, 2, 16)), chunk(b"data", u32::MAX, &body)];
    for name in [b"RF64", b"BW64"] {
        let bytes = [name, &u32::MAX.to_le_bytes()[..], b"WAVE", &chunks.concat()].concat();
        assert_eq!(decode(&bytes).unwrap().channels, std::slice::from_ref(&expected));
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }
}

#[test]
fn samples_narrower_than_their_container_are_read_wherever_their_bits_are() {
    let values: Vec<i32> = (0..200).map(|i| i * 40_009 - 4_000_000).collect();
    let expected: Vec<f32> = values.iter().map(|&x| (f64::from(x) / 8_388_608.0) as f32).collect();
    for shift in [0, 8] {
        for extensible in [false, true] {
            let body: Vec<u8> = values.iter().flat_map(|x| (x << shift).to_le_bytes()).collect();
            let mut fmt = format(if extensible { 0xFFFE } else { 1 }, 1, 4, 24);
            if extensible {
                fmt.extend([
                    22, 0, 24, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71,
                ]);
            }
            let bytes = whole(&[chunk(b"fmt ", fmt.len() as u32, &fmt), chunk(b"data", body.len() as u32, &body)]);
            assert_eq!(decode(&bytes).unwrap().channels, std::slice::from_ref(&expected), "{shift} {extensible}");
        }
    }
    // 20 bits are the high ones of three bytes.
    let body: Vec<u8> = values.iter().flat_map(|x| (x & !15).to_le_bytes()[..3].to_vec()).collect();
    let bytes = whole(&[chunk(b"fmt ", 16, &format(1, 1, 3, 20)), chunk(b"data", body.len() as u32, &body)]);
    let wave = decode(&bytes).unwrap();
    assert!(wave.channels[0].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 3e-6));
}

#[test]
fn logarithmic_codes_and_wide_floats_are_those_of_the_standard() {
    let of = |tag, align, bits, body: &[u8]| {
        let bytes = whole(&[chunk(b"fmt ", 16, &format(tag, 1, align, bits)), chunk(b"data", body.len() as u32, body)]);
        decode(&bytes).unwrap().channels.remove(0)
    };
    // Values of ffmpeg's pcm_alaw and pcm_mulaw decoders.
    let codes = [0x00, 0x55, 0x80, 0xD5, 0x2A, 0xAA, 0xFF, 0x7F];
    let scaled = |values: [i32; 8]| values.map(|x| x as f32 / 32768.0).to_vec();
    assert_eq!(of(6, 1, 8, &codes), scaled([-5504, -8, 5504, 8, -32256, 32256, 848, -848]));
    assert_eq!(of(7, 1, 8, &codes), scaled([-32124, -716, 32124, 716, -5372, 5372, 0, 0]));
    let wide: Vec<u8> = [0.25f64, -1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(of(3, 8, 64, &wide), [0.25, -1.0]);
}
