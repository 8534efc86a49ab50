//! The keys of the configuration, as its structs have them: names, types, defaults, and their own comments.

use std::fmt::Write;

use rookery_process::config::BYTE_SIZE;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::serve::Config;

const OPENING: &str = "\
# Configuration keys

Made by `rookery reference config` of the structs that read the file. What belongs together is told in
[configuration.md](../configuration.md).

An unknown key is an error. Paths are relative to the file's folder. A duration has units (`\"30s\"`, `\"5m\"`, `\"7days\"`); a size is a
number of bytes, or has a unit (`\"50MB\"`, `\"64KiB\"`). `ROOKERY__SECTION__KEY` in the environment overrides a key:
`ROOKERY__PROXY__LISTEN__SMTP=0.0.0.0:25`. `rookery serve --config FILE --check-config` tells whether a file is good, and `rookery
reference config --json` prints all of this as a JSON schema, for editors.
";

const EXAMPLE_OPENING: &str = "\
# Every key of Rookery's configuration with its default. Take what you need into your own file, which `rookery init` makes.
";

/// A section of the file.
struct Section {
    /// As between the brackets.
    name: String,
    is_list: bool,
    meaning: String,
    keys: Vec<Key>,
}

/// A key of a section.
struct Key {
    name: String,
    form: String,
    default: Preset,
    meaning: String,
}

enum Preset {
    Required,
    /// It may be left out, and that has a meaning of its own.
    Absent,
    /// As it is written in the file.
    Written(String),
}

/// The JSON schema of the file.
pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

/// The document.
pub(super) fn markdown() -> String {
    let mut text = OPENING.to_owned();
    for section in sections() {
        let brackets = section.brackets();
        let _ = write!(text, "\n## `{brackets}`\n\n{}\n", section.meaning);
        text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            let default = match key.default {
                Preset::Required => "required".to_owned(),
                Preset::Absent => "–".to_owned(),
                Preset::Written(value) => format!("`{value}`"),
            };
            let meaning = key.meaning.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {} | {default} | {meaning} |", key.name, key.form);
        }
    }
    text
}

/// A file in which every key is a comment.
pub(super) fn example() -> String {
    let mut text = EXAMPLE_OPENING.to_owned();
    for section in sections() {
        let _ = write!(text, "\n# {}\n#{}\n", section.meaning, section.brackets());
        for key in section.keys {
            let value = match key.default {
                Preset::Required => "# required".to_owned(),
                Preset::Absent => format!("# {}, absent by default", key.form),
                Preset::Written(value) => value,
            };
            let _ = write!(text, "# {}\n#{} = {value}\n", key.meaning, key.name);
        }
    }
    text
}

impl Section {
    fn brackets(&self) -> String {
        match self.is_list {
            true => format!("[[{}]]", self.name),
            false => format!("[{}]", self.name),
        }
    }
}

/// All sections: a section before those in it, what a file cannot do without before the rest.
fn sections() -> Vec<Section> {
    let mut found = Vec::new();
    add_below("", &schema(), &mut found);
    found
}

fn add_below(name: &str, table: &Value, found: &mut Vec<Section>) {
    for (key, schema) in properties(table) {
        let name = match name {
            "" => key.clone(),
            outer => format!("{outer}.{key}"),
        };
        let (inner, is_list) = match (keyed(schema), keyed(&schema["items"])) {
            (Some(table), _) => (table, false),
            (None, Some(table)) => (table, true),
            (None, None) => continue,
        };
        let keys = properties(inner)
            .into_iter()
            .filter(|(_, schema)| keyed(schema).is_none())
            .map(|(name, schema)| Key {
                name: name.clone(),
                form: form(schema),
                default: default(name, inner, schema),
                meaning: meaning(schema),
            });
        found.push(Section {
            name: name.clone(),
            is_list,
            meaning: meaning(schema),
            keys: keys.collect(),
        });
        add_below(&name, inner, found);
    }
}

/// The keys of a table, those that it cannot do without first.
fn properties(table: &Value) -> Vec<(&String, &Value)> {
    let all = table["properties"].as_object().into_iter().flat_map(Map::iter);
    let (mut first, then): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_required(table, name));
    first.extend(then);
    first
}

fn is_required(table: &Value, name: &str) -> bool {
    let required = table["required"].as_array();
    required.is_some_and(|required| required.iter().any(|key| key == name))
}

/// The schema with keys, of a value that has some.
fn keyed(schema: &Value) -> Option<&Value> {
    if schema["properties"].is_object() {
        return Some(schema);
    }
    schema["anyOf"].as_array()?.iter().find_map(keyed)
}

fn meaning(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a value looks like.
fn form(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    for choices in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choices].as_array() {
            let forms = choices.iter().map(form).filter(|form| form != "null");
            return forms.collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter(|value| !value.is_null());
        return values
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("array") if keyed(&schema["items"]).is_some() => "list of tables".to_owned(),
        Some("array") => format!("list of {}s", form(&schema["items"])),
        Some(kind) => kind.to_owned(),
        None => String::new(),
    }
}

fn default(name: &str, table: &Value, schema: &Value) -> Preset {
    match &schema["default"] {
        Value::Null if is_required(table, name) => Preset::Required,
        Value::Null => Preset::Absent,
        Value::Number(bytes) if schema["title"] == BYTE_SIZE => {
            Preset::Written(bytes.as_u64().map_or_else(|| bytes.to_string(), size))
        }
        // What JSON and TOML write alike.
        value => Preset::Written(value.to_string()),
    }
}

/// Bytes by the largest unit of which there is a whole number.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units
        .iter()
        .find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((unit, shift)) => format!("\"{}{unit}\"", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rookery_process::config::SPAN;

    use super::*;

    const NEEDED: &str =
        "id = \"a\"\ncluster = \"b\"\ndata = \"c\"\nca = \"d\"\ncertificate = \"e\"\nkey = \"f\"\n";

    fn parsed(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        format!("{config:#?}")
    }

    #[test]
    fn a_default_that_is_written_into_the_file_changes_nothing() {
        let mut sparse = String::new();
        let mut full = String::new();
        let mut count = 0;
        for section in sections().iter().filter(|section| !section.is_list) {
            let heading = format!("[{}]\n", section.name);
            let needed = if section.name == "node" { NEEDED } else { "" };
            sparse.push_str(&format!("{heading}{needed}"));
            full.push_str(&format!("{heading}{needed}"));
            for key in &section.keys {
                if let Preset::Written(value) = &key.default {
                    full.push_str(&format!("{} = {value}\n", key.name));
                    count += 1;
                }
            }
        }
        assert_eq!(parsed(&full), parsed(&sparse));
        assert!(count > 35, "only {count} keys have a default");
    }

    #[test]
    fn what_is_absent_by_default_may_be() {
        // A key of a type that cannot say its default would be told to have none.
        for section in sections() {
            for key in section.keys {
                assert!(!key.meaning.is_empty() && !key.form.is_empty(), "{}", key.name);
            }
        }
        let all = schema();
        let mut silent = Vec::new();
        look(&all, &mut silent);
        assert!(silent.is_empty(), "no default is known of {silent:?}");
    }

    fn look(table: &Value, silent: &mut Vec<String>) {
        for (name, schema) in properties(table) {
            let may_be_null = schema.to_string().contains("\"null\"");
            let is_known = schema.get("default").is_some() || may_be_null || is_required(table, name);
            match keyed(schema).or_else(|| keyed(&schema["items"])) {
                Some(inner) => look(inner, silent),
                None if !is_known => silent.push(name.clone()),
                None => {}
            }
        }
    }

    #[test]
    fn what_is_required_is() {
        let sections = sections();
        let node = sections.iter().find(|section| section.name == "node").unwrap();
        let required: Vec<&str> = node
            .keys
            .iter()
            .filter(|key| matches!(key.default, Preset::Required))
            .map(|key| key.name.as_str())
            .collect();
        assert_eq!(required, ["ca", "certificate", "cluster", "data", "id", "key"]);
        for name in required {
            let others = NEEDED
                .lines()
                .filter(|line| !line.starts_with(&format!("{name} =")));
            let text = format!("[node]\n{}\n[proxy]\n", others.collect::<Vec<_>>().join("\n"));
            let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_example_is_a_file_of_comments_that_stand_for_its_keys() {
        let text = example();
        let table: toml::Table = text.parse().unwrap();
        assert!(table.is_empty());
        let uncommented: Vec<&str> = text
            .lines()
            .filter(|line| {
                !line.starts_with("# ") && !line.ends_with("# required") && !line.contains("absent by")
            })
            .filter_map(|line| line.strip_prefix('#'))
            .collect();
        let members = uncommented
            .iter()
            .position(|line| line.starts_with("[["))
            .unwrap();
        let mut lines = uncommented.clone();
        lines.remove(members);
        let whole = lines.join("\n").replace("[node]", &format!("[node]\n{NEEDED}"));
        parsed(&whole);
    }

    #[test]
    fn sizes_are_told_by_their_unit() {
        for (bytes, told) in [
            (0, "0"),
            (1000, "1000"),
            (64 << 10, "\"64KiB\""),
            (50 << 20, "\"50MiB\""),
        ] {
            assert_eq!(size(bytes), told);
        }
        let durations: Vec<_> = sections().into_iter().flat_map(|section| section.keys).collect();
        assert!(
            durations
                .iter()
                .any(|key| key.name == "drain" && key.form == SPAN)
        );
    }
}
