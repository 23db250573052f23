//! Writes what is generated from the types of both kinds: the CRDs as YAML, and the reference pages.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use tagfleet_crds::{generated, generated::File};

const USAGE: &str = "usage: tagfleet-crds [yaml DIR | reference DIR]\n\
    without arguments both CRDs are printed";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => generated::crds()
            .map_err(io::Error::other)
            .and_then(|files| print(&files)),
        ["yaml", folder] => generated::crds()
            .map_err(io::Error::other)
            .and_then(|files| write(folder, &files)),
        ["reference", folder] => write(folder, &generated::reference()),
        _ => {
            report(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn report(message: &str) {
    // Nothing is left to tell if standard error is closed.
    writeln!(io::stderr(), "{message}").unwrap_or_default();
}

fn print(files: &[File]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    files.iter().try_for_each(|file| write!(out, "---\n{}", file.text))
}

fn write(folder: &str, files: &[File]) -> io::Result<()> {
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    files.iter().try_for_each(|file| {
        let path = folder.join(file.name);
        fs::write(&path, &file.text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    })
}
