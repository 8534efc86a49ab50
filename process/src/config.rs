//! One TOML file, checked strictly, with overrides from the environment.
//!
//! Each role owns the struct of its section (with `deny_unknown_fields`); this module reads the file, lays the
//! environment over it and gives units to durations and sizes.

mod environment;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Table;

use environment::Section;

/// Variables that begin so override the file: `ROOKERY__SECTION__KEY`.
const PREFIX: &str = "ROOKERY__";

/// What a [`Span`] is called in the configuration's schema.
pub const SPAN: &str = "duration";

/// What a [`ByteSize`] is called there.
pub const BYTE_SIZE: &str = "size";

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key is unknown, missing or has a wrong value.
    #[error("{path}: {message}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// Which key, and what is allowed.
        message: String,
    },
    /// An environment variable does not fit.
    #[error("environment variable {0} does not name a key of a section: use ROOKERY__SECTION__KEY")]
    Environment(String),
    /// An environment variable of ours is not text.
    #[error("environment variable {0} is not UTF-8")]
    NotText(String),
}

/// Reads a configuration with the process's environment laid over it.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    load_with(path, text_variables(std::env::vars_os())?.into_iter())
}

/// The variables that are meant for the configuration. Others may hold any bytes.
fn text_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    variables
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| {
            let shown = name.to_string_lossy().into_owned();
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                _ => Err(ConfigError::NotText(shown)),
            }
        })
        .collect()
}

/// Reads a configuration with variables laid over it. `ROOKERY__PROXY__HOSTNAME=mx1` sets `hostname` in `[proxy]`. A value of a key
/// that is a string is that string, whatever it looks like; any other is read as TOML, so that numbers, lists and tables can be given.
pub fn load_with<T: DeserializeOwned>(
    path: &Path,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_path_buf(),
            message: error.to_string(),
        })?;
    let content = |message: String| ConfigError::Content {
        path: path.to_path_buf(),
        message,
    };
    // A section before what is in it.
    let variables: BTreeMap<_, _> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    if variables.is_empty() {
        // From text, so that errors name the line.
        return toml::from_str(&text)
            .map_err(|error: toml::de::Error| content(error.to_string().trim().to_owned()));
    }
    let mut layers = Section::new(table);
    for (name, value) in variables {
        let keys = name.strip_prefix(PREFIX).unwrap_or_default();
        layers
            .lay_over(&name, keys, &value)
            .ok_or_else(|| ConfigError::Environment(name.clone()))?;
    }
    T::deserialize(layers).map_err(|error| content(error.to_string().trim().to_owned()))
}

/// A duration with a unit: `"500ms"`, `"30s"`, `"5m"`, `"30days"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not a duration such as \"30s\" or \"5m\": {error}"
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        SPAN.into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": SPAN })
    }
}

/// A number of bytes with a unit: `"64KiB"`, `"50MB"`, `"1GiB"`, or bare bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(bytes) => Ok(Self(bytes)),
            Raw::Text(text) => Self::parse(&text).ok_or_else(|| {
                D::Error::custom(format!("{text:?} is not a size such as \"64KiB\" or \"50MB\""))
            }),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        BYTE_SIZE.into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "title": BYTE_SIZE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        proxy: Section,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        idle: Span,
        size: ByteSize,
        name: String,
        #[serde(default)]
        ports: Vec<u16>,
        #[serde(default)]
        open: bool,
        #[serde(default)]
        form: Form,
        #[serde(default)]
        place: Place,
        #[serde(default)]
        path: Option<PathBuf>,
        #[serde(default)]
        address: Option<std::net::SocketAddr>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Form {
        #[default]
        Text,
        Json,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Place {
        id: String,
        rank: u32,
    }

    fn sample(text: &str, variables: &[(&str, &str)]) -> Result<Sample, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rookery.toml");
        std::fs::write(&path, text).unwrap();
        load_with(
            &path,
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn units_and_environment() {
        let text = "[proxy]\nidle = \"5m\"\nsize = \"50MB\"\nname = \"a\"\n";
        let held = sample(
            text,
            &[("ROOKERY__PROXY__NAME", "b"), ("ROOKERY__PROXY__SIZE", "7")],
        )
        .unwrap();
        assert_eq!(held.proxy.idle.0, Duration::from_secs(300));
        assert_eq!(held.proxy.size.0, 7);
        assert_eq!(held.proxy.name, "b");
    }

    #[test]
    fn what_is_a_string_stays_one_whatever_it_looks_like() {
        let text = "[proxy]\nidle = \"5m\"\nsize = \"50MB\"\nname = \"a\"\n";
        for (value, name) in [
            ("1e5", "1e5"),
            ("007", "007"),
            ("7", "7"),
            ("true", "true"),
            ("nan", "nan"),
            ("2026-01-01", "2026-01-01"),
            ("[a]", "[a]"),
            ("{ a = 1 }", "{ a = 1 }"),
            ("\"quoted\"", "quoted"),
            ("'7'", "7"),
            ("a # b", "a # b"),
            ("1\nother = 2", "1\nother = 2"),
            ("", ""),
        ] {
            let held = sample(text, &[("ROOKERY__PROXY__NAME", value)]).unwrap();
            assert_eq!(held.proxy.name, name);
        }
    }

    #[test]
    fn variables_give_what_is_no_string_as_well() {
        let text = "[proxy]\nidle = \"5m\"\nsize = 1\nname = \"a\"\n";
        let held = sample(
            text,
            &[
                ("ROOKERY__PROXY__SIZE", "64KiB"),
                ("ROOKERY__PROXY__IDLE", "30s"),
                ("ROOKERY__PROXY__PORTS", "[25, 587]"),
                ("ROOKERY__PROXY__FORM", "json"),
                ("ROOKERY__PROXY__PLACE", "{ id = \"8\" }"),
                ("ROOKERY__PROXY__PLACE__RANK", "3"),
                ("ROOKERY__PROXY__OPEN", "true"),
                ("ROOKERY__PROXY__PATH", "12"),
                ("ROOKERY__PROXY__ADDRESS", "127.0.0.1:25"),
            ],
        )
        .unwrap()
        .proxy;
        assert_eq!(
            (held.size.0, held.idle.0),
            (64 << 10, Duration::from_secs(30)),
            "units"
        );
        assert_eq!(
            (held.ports, held.open, held.form),
            (vec![25, 587], true, Form::Json)
        );
        assert_eq!((held.place.id.as_str(), held.place.rank), ("8", 3));
        assert_eq!(held.path, Some(PathBuf::from("12")));
        assert_eq!(held.address, "127.0.0.1:25".parse().ok());
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_variable() {
        let text = "[proxy]\nidle = \"5m\"\nsize = 1\nname = \"a\"\n";
        for (variable, value, named) in [
            ("ROOKERY__PROXY__SIZE", "huge", "proxy.size"),
            ("ROOKERY__PROXY__OPEN", "1", "proxy.open"),
            ("ROOKERY__PROXY__IDEL", "1", "idel"),
            ("ROOKERY__PROXY__PLACE__RANK", "first", "proxy.place.rank"),
            ("ROOKERY__PROXY__FORM", "xml", "proxy.form"),
            ("ROOKERY__PROXY__NAME__FIRST", "b", "ROOKERY__SECTION__KEY"),
            ("ROOKERY__PROXY__", "b", "ROOKERY__SECTION__KEY"),
        ] {
            let error = sample(text, &[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(variable), "{error}");
        }
        // What the file says wrongly is not blamed on a variable.
        let text = "[proxy]\nidle = \"5m\"\nsize = \"much\"\nname = \"a\"\n";
        let error = sample(text, &[("ROOKERY__PROXY__NAME", "b")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("proxy.size") && !error.contains("ROOKERY__"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        let text = "[proxy]\nidle = \"5m\"\nsize = 1\nname = \"a\"\nidel = 3\n";
        let error = sample(text, &[]).unwrap_err().to_string();
        assert!(
            error.contains("idel") && error.contains("rookery.toml"),
            "{error}"
        );
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        let text = "# a comment\n\n[proxy]\nidle = \"5m\"\nsize = 1\nname = \"a\"\nidel = 3\n";
        let error = sample(text, &[]).unwrap_err().to_string();
        assert!(error.contains("line 7"), "{error}");
    }

    #[test]
    fn variables_that_are_not_text_matter_only_when_they_are_ours() {
        use std::os::unix::ffi::OsStringExt;
        let junk = || OsString::from_vec(vec![0xff]);
        let other = text_variables([(junk(), junk()), ("HOME".into(), junk())].into_iter());
        assert!(other.unwrap().is_empty());
        let ours = text_variables([("ROOKERY__PROXY__NAME".into(), junk())].into_iter());
        let error = ours.unwrap_err().to_string();
        assert!(error.contains("ROOKERY__PROXY__NAME"), "{error}");
    }

    #[test]
    fn a_wrong_unit_is_refused() {
        let error = sample("[proxy]\nidle = \"5 parsecs\"\nsize = 1\nname = \"a\"\n", &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("parsecs"), "{error}");
        assert!(ByteSize::parse("12 elephants").is_none());
        assert!(ByteSize::parse("99999999999999999999").is_none());
        assert!(ByteSize::parse("18446744073709551615KiB").is_none());
    }
}
