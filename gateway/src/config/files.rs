//! The file source: which files the given paths mean, and what they hold right now.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    finding::Finding,
    kubernetes::ClusterObjects,
    manifests::MAX_FILE_BYTES,
    secrets::{self, Data},
};

/// The deepest folder below a given one that is read.
const MAX_FOLDERS: usize = 16;
/// The most files that are read.
const MAX_FILES: usize = 10_000;
/// Files that stand beside manifests in many repositories and are none.
const NO_MANIFESTS: [&str; 2] = ["kustomization.yaml", "kustomization.yml"];

/// Where the configuration comes from in file mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files and folders of manifests (`--manifests`).
    pub paths: Vec<PathBuf>,
    /// A folder with files named `<secret>..<key>` (`--secrets-dir`).
    pub secrets_dir: Option<PathBuf>,
}

/// What the sources held when they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The files by name, as the user names them.
    pub files: BTreeMap<Arc<str>, Vec<u8>>,
    /// Files and folders that could not be read: what was in them before is taken to be there still.
    pub unreadable: Vec<Finding>,
    /// The Secrets of the folder.
    pub secrets: BTreeMap<String, Data>,
    /// Whether the folder of Secrets could not be read whole: those of before are taken to be there still.
    pub secrets_unreadable: bool,
    /// What the API server has, in Kubernetes mode, once it has told all of it.
    pub cluster: Option<Arc<ClusterObjects>>,
}

impl Snapshot {
    /// Whether this file, or a folder that it is in, could not be read.
    #[must_use]
    pub fn is_unreadable(&self, file: &str) -> bool {
        self.unreadable
            .iter()
            .any(|finding| Path::new(file).starts_with(&*finding.file))
    }
}

impl Sources {
    /// Reads everything. Never fails as a whole.
    #[must_use]
    pub fn read(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for path in &self.paths {
            // A path that the user names is read whatever it is called; one of stdin or a device is refused.
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => read_folder(path, 0, &mut snapshot),
                Ok(_) => read_file(path, &mut snapshot),
                Err(error) => snapshot.unreadable.push(unreadable(path, &error)),
            }
        }
        if let Some(folder) = &self.secrets_dir {
            match secrets::read_folder(folder) {
                Ok(secrets) => snapshot.secrets = secrets,
                Err(findings) => {
                    snapshot.secrets_unreadable = true;
                    snapshot.unreadable.extend(findings);
                }
            }
        }
        snapshot
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let shown: Arc<str> = path.display().to_string().into();
    Finding::in_file(&shown, None, format!("cannot be read: {error}"))
}

/// Reads the manifests of a folder and its folders, in the order of their names. Names that start with a point are
/// passed over: a mounted ConfigMap keeps its versions in them.
fn read_folder(folder: &Path, depth: usize, snapshot: &mut Snapshot) {
    if depth > MAX_FOLDERS {
        let error = io::Error::other(format!("more than {MAX_FOLDERS} folders deep"));
        snapshot.unreadable.push(unreadable(folder, &error));
        return;
    }
    let entries = fs::read_dir(folder).and_then(|entries| {
        let entries = entries.take(MAX_FILES).map(|entry| entry.map(|entry| entry.path()));
        entries.collect::<io::Result<Vec<PathBuf>>>()
    });
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            snapshot.unreadable.push(unreadable(folder, &error));
            return;
        }
    };
    entries.sort();
    for entry in entries {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.is_empty() || name.starts_with('.') {
            continue;
        }
        match fs::metadata(&entry) {
            Ok(metadata) if metadata.is_dir() => read_folder(&entry, depth + 1, snapshot),
            Ok(_) if is_manifest(name) => read_file(&entry, snapshot),
            // Gone between the listing and now; another change will tell.
            _ => {}
        }
    }
}

/// Whether a file of a folder is a manifest by its name. `*.test.yaml` are the tests that stand beside.
fn is_manifest(name: &str) -> bool {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
    stem.is_some_and(|stem| !stem.ends_with(".test")) && !NO_MANIFESTS.contains(&name)
}

fn read_file(path: &Path, snapshot: &mut Snapshot) {
    let name: Arc<str> = path.display().to_string().into();
    if snapshot.files.len() >= MAX_FILES {
        let error = io::Error::other(format!("more than {MAX_FILES} files are given"));
        snapshot.unreadable.push(unreadable(path, &error));
        return;
    }
    match read_bounded(path) {
        Ok(bytes) => {
            snapshot.files.insert(name, bytes);
        }
        Err(error) => snapshot.unreadable.push(unreadable(path, &error)),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is neither a file nor a folder"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(io::Error::other(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn sources(paths: &[&Path]) -> Sources {
        Sources {
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
            secrets_dir: None,
        }
    }

    fn names(snapshot: &Snapshot, root: &Path) -> Vec<String> {
        let relative = |name: &Arc<str>| Path::new(&**name).strip_prefix(root).unwrap().display().to_string();
        snapshot.files.keys().map(relative).collect()
    }

    #[test]
    fn a_folder_gives_its_manifests_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("more/.git")).unwrap();
        for name in [
            "b.yaml",
            "a.yml",
            "more/c.yaml",
            "more/.git/d.yaml",
            ".hidden.yaml",
            "shop.test.yaml",
            "kustomization.yaml",
            "notes.txt",
        ] {
            fs::write(root.path().join(name), "x: 1").unwrap();
        }
        let snapshot = sources(&[root.path()]).read();
        assert_eq!(names(&snapshot, root.path()), ["a.yml", "b.yaml", "more/c.yaml"]);
        assert!(snapshot.unreadable.is_empty());
    }

    #[test]
    fn a_mounted_config_map_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("..2024_01_01")).unwrap();
        fs::write(root.path().join("..2024_01_01/shop.yaml"), "x: 1").unwrap();
        std::os::unix::fs::symlink("..2024_01_01", root.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/shop.yaml", root.path().join("shop.yaml")).unwrap();
        let snapshot = sources(&[root.path()]).read();
        assert_eq!(names(&snapshot, root.path()), ["shop.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_all_that_was_below_it() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let snapshot = sources(&[&missing]).read();
        assert!(snapshot.unreadable[0].to_string().contains("cannot be read"));
        assert!(snapshot.is_unreadable(missing.join("shop.yaml").to_str().unwrap()));
        assert!(!snapshot.is_unreadable(root.path().join("missing.yaml").to_str().unwrap()));
    }

    #[test]
    fn folders_that_lead_back_to_themselves_end() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), "x: 1").unwrap();
        std::os::unix::fs::symlink(".", root.path().join("again")).unwrap();
        let snapshot = sources(&[root.path()]).read();
        assert!(snapshot.files.len() <= MAX_FOLDERS + 1);
        assert_eq!(snapshot.unreadable.len(), 1);
    }
}
