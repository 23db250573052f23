//! Secrets and ConfigMaps: from manifests, and Secrets also from a folder of files named `<secret>..<key>`, as a mounted
//! Secret has them. No value is ever shown.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    finding::{Finding, Position},
    objects::SECRET,
    tree::{Node, Value},
};
use crate::secret::Secret;

/// The largest value that is read, in bytes: what an API server stores of one Secret.
const MAX_VALUE_BYTES: u64 = 1024 * 1024;
/// The most files that a folder of secrets may hold.
const MAX_FILES: usize = 10_000;

/// The keys of a Secret or ConfigMap. Values of both are kept unprintable, since a ConfigMap's are of no use in a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data(BTreeMap<String, (Datum, Position)>);

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// Text.
    Text(Secret),
    /// Bytes that are no text.
    Binary,
}

impl Data {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Datum> {
        self.0.get(key).map(|(datum, _)| datum)
    }

    /// The keys that hold text, with it.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(key, (datum, _))| match datum {
            Datum::Text(text) => Some((key.as_str(), text.expose())),
            Datum::Binary => None,
        })
    }

    /// Sets the text of a key.
    pub fn insert(&mut self, key: String, text: Secret) {
        self.0.insert(key, (Datum::Text(text), Position::START));
    }

    /// Where the key stands.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Position> {
        self.0.get(key).map(|(_, at)| *at)
    }
}

impl Datum {
    fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or(Self::Binary, |text| Self::Text(Secret::new(text)))
    }
}

/// Reads a Secret's or ConfigMap's manifest. Mistakes never show a value.
pub(super) fn read(kind: &str, document: &Node, report: &mut dyn FnMut(Position, String, String)) -> Data {
    let (plain, encoded): (&str, &str) = match kind {
        SECRET => ("stringData", "data"),
        _ => ("data", "binaryData"),
    };
    let known = ["apiVersion", "kind", "metadata", "immutable", plain, encoded];
    for field in document.fields() {
        let is_type = kind == SECRET && field.name == "type";
        if !known.contains(&field.name.as_str()) && !is_type {
            report(field.at, field.name.clone(), "unknown field".to_owned());
        }
    }
    let mut data = BTreeMap::new();
    // What is written plainly wins, as `stringData` does over `data`.
    for (section, is_encoded) in [(encoded, true), (plain, false)] {
        let Some(values) = document.get(section).filter(|values| !values.is_null()) else {
            continue;
        };
        if !matches!(values.value, Value::Map(_)) {
            report(values.at, section.to_owned(), "must be an object".to_owned());
        }
        for field in values.fields() {
            let text = match &field.node.value {
                Value::Text(text) => text.as_str(),
                Value::Null => "",
                _ => {
                    let message = "must be text: put it in quotes".to_owned();
                    report(field.node.at, format!("{section}[\"{}\"]", field.name), message);
                    continue;
                }
            };
            let datum = if is_encoded {
                let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                match STANDARD.decode(packed) {
                    Ok(bytes) => Datum::from_bytes(bytes),
                    Err(_) => {
                        let message = format!("is no base64; write plain text under {plain}");
                        report(field.node.at, format!("{section}[\"{}\"]", field.name), message);
                        continue;
                    }
                }
            } else {
                Datum::Text(Secret::new(text))
            };
            data.insert(field.name.clone(), (datum, field.at));
        }
    }
    Data(data)
}

/// The Secrets of a folder with files named `<secret>..<key>`; other files are passed over.
///
/// # Errors
/// When the folder, or any of its Secrets, cannot be read: half a folder is not taken for the whole.
pub fn read_folder(folder: &Path) -> Result<BTreeMap<String, Data>, Vec<Finding>> {
    let shown: Arc<str> = folder.display().to_string().into();
    let refuse = |message: String| vec![Finding::in_file(&shown, None, message)];
    let unreadable = |error: io::Error| refuse(format!("cannot read this folder: {error}"));
    let mut secrets: BTreeMap<String, Data> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        if files.len() >= MAX_FILES {
            return Err(refuse(format!("holds more than {MAX_FILES} files")));
        }
        files.push(entry.map_err(unreadable)?.path());
    }
    files.sort();
    for file in files {
        let Some((secret, key)) = file.file_name().and_then(|name| name.to_str()).and_then(secret_and_key) else {
            continue;
        };
        match read_value(&file) {
            Ok(Some(bytes)) => {
                let data = secrets.entry(secret.to_owned()).or_default();
                let datum = Datum::from_bytes(bytes);
                data.0.insert(key.to_owned(), (datum, Position::START));
            }
            Ok(None) => {}
            Err(error) => {
                let shown: Arc<str> = file.display().to_string().into();
                findings.push(Finding::in_file(
                    &shown,
                    None,
                    format!("cannot read this secret: {error}"),
                ));
            }
        }
    }
    if findings.is_empty() {
        Ok(secrets)
    } else {
        Err(findings)
    }
}

/// The two names in a file's name. A mount's own entries (`..data`, `..2024_01_01`) have no secret in front.
fn secret_and_key(file_name: &str) -> Option<(&str, &str)> {
    let (secret, key) = file_name.split_once("..")?;
    (!secret.is_empty() && !key.is_empty()).then_some((secret, key))
}

/// The content of a file; nothing if it is no file.
fn read_value(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let metadata = fs::metadata(file)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > MAX_VALUE_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_VALUE_BYTES} bytes")));
    }
    fs::read(file).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::config::{manifests::parse, objects::CONFIG_MAP};

    fn read_text(kind: &str, text: &str) -> (Data, Vec<String>) {
        let parsed = parse(text);
        assert_eq!(parsed.error, None);
        let mut mistakes = Vec::new();
        let data = read(kind, &parsed.documents[0], &mut |at, field, message| {
            mistakes.push(format!("{}:{}: {field}: {message}", at.line, at.column));
        });
        (data, mistakes)
    }

    fn text<'d>(data: &'d Data, key: &str) -> &'d str {
        match data.get(key) {
            Some(Datum::Text(text)) => text.expose(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_secret_gives_what_is_encoded_and_what_is_plain() {
        let (data, mistakes) = read_text(
            SECRET,
            "kind: Secret\ntype: Opaque\ndata: {a: c2VjcmV0, b: b2xk, c: /w==}\nstringData: {b: new}\n",
        );
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!((text(&data, "a"), text(&data, "b")), ("secret", "new"));
        assert_eq!(data.get("c"), Some(&Datum::Binary));
        assert!(!format!("{data:?}").contains("new"));
    }

    #[test]
    fn mistakes_in_a_secret_never_show_its_values() {
        let (_, mistakes) = read_text(
            SECRET,
            "data: {a: hunter2, b: 1234}\nstrigData: {}\nstringData: {c: 5678}\n",
        );
        assert_eq!(
            mistakes,
            [
                "2:1: strigData: unknown field",
                "1:11: data[\"a\"]: is no base64; write plain text under stringData",
                "1:23: data[\"b\"]: must be text: put it in quotes",
                "3:17: stringData[\"c\"]: must be text: put it in quotes",
            ]
        );
    }

    #[test]
    fn a_config_map_gives_its_text() {
        let (data, mistakes) = read_text(CONFIG_MAP, "data:\n  thresholds.csv: |\n    sku,threshold\n    A,3\n");
        assert!(mistakes.is_empty());
        assert_eq!(text(&data, "thresholds.csv"), "sku,threshold\nA,3\n");
    }

    #[test]
    fn files_of_a_mounted_secret_are_read_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &str| fs::write(folder.path().join(name), value).unwrap();
        write("shop-secrets..ga4", "abc");
        write("shop-secrets..mp-secret", "def\n");
        write("readme.txt", "x");
        fs::create_dir(folder.path().join("..2024_01_01")).unwrap();
        let secrets = read_folder(folder.path()).unwrap();
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["shop-secrets"]);
        assert_eq!(text(&secrets["shop-secrets"], "mp-secret"), "def\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let findings = read_folder(Path::new("nowhere")).unwrap_err();
        assert!(findings[0].to_string().starts_with("nowhere: cannot read this folder"));
    }
}
