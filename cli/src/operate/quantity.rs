//! Bytes, spans of time and rates as people read and write them.

use rookery_process::config::ByteSize;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

/// Bytes in the largest decimal unit of which there is one, with one decimal.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut unit, mut scale) = (0, 1u64);
    while unit + 1 < units.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = bytes / (scale / 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// Seconds in the unit that says enough.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        7_200..172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// Thousandths with one decimal.
pub(super) fn milli(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 1000, thousandths % 1000 / 100)
}

/// Millionths of a processor, as percent with one decimal.
pub(super) fn cpu(ppm: u64) -> String {
    format!("{}.{} %", ppm / 10_000, ppm % 10_000 / 1_000)
}

/// Bytes a second as in `50MB/s`; `/s` may be left out.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    let bytes = text.trim();
    let bytes = bytes.strip_suffix("/s").unwrap_or(bytes);
    let parsed: Result<ByteSize, Error> = ByteSize::deserialize(bytes.into_deserializer());
    match parsed {
        Ok(ByteSize(0)) => {
            Err("it must be more than 0; `rookery rebalance pause` stops transfers".to_owned())
        }
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err("it is not a rate such as \"50MB/s\" or \"64MiB/s\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            (size(999), size(1_000), size(12_345_678)),
            ("999 B".into(), "1.0 kB".into(), "12.3 MB".into())
        );
        assert_eq!(size(u64::MAX), "18.4 EB");
        assert_eq!(
            (duration(119), duration(121), duration(200_000)),
            ("119 s".into(), "3 min".into(), "3 days".into())
        );
        assert_eq!((milli(0), milli(12_380)), ("0.0".into(), "12.3".into()));
        assert_eq!((cpu(999), cpu(1_234_567)), ("0.0 %".into(), "123.4 %".into()));
    }

    #[test]
    fn rates_are_read_with_and_without_the_second() {
        for text in ["50MB/s", "50MB", " 50 MB/s ", "50000000"] {
            assert_eq!(parse_rate(text), Ok(50_000_000), "{text:?}");
        }
        assert_eq!(parse_rate("1MiB/s"), Ok(1 << 20));
        for text in [
            "",
            "/s",
            "fast",
            "50MB/h",
            "-1",
            "0",
            "0MB/s",
            "99999999999999TB/s",
        ] {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
    }
}
