//! Keeps the database of places of `enrich.geo` in force: a file is read again when it changes, an address is fetched again
//! and again. A gateway serves without places rather than not at all, and what is broken leaves the last good database.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ETAG, IF_NONE_MATCH, USER_AGENT},
};
use tokio::{
    task::{AbortHandle, spawn_blocking},
    time::{sleep, timeout},
};
use url::Url;

use crate::{
    clock,
    delivery::client::Transport,
    destinations::{self, Authentication, Protocol, Request},
    hashing::sha256_hex,
    pipeline::geo::{Database, GeoSource, MAX_BYTES, Origin},
    status::{Board, GeoStatus, LastError},
};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long a fetch may take as a whole.
const FETCH: Duration = Duration::from_secs(300);
/// The wait after the first failed fetch; it doubles with each, up to [`LONGEST_WAIT`] or the interval.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How files in the data folder are called that hold what was fetched.
const KEPT: &str = "geo-";

/// Keeps one database in force.
pub(super) struct GeoKeeper {
    /// Reads responses up to one byte more than [`MAX_BYTES`].
    transport: Arc<dyn Transport>,
    /// Where what was fetched is kept for the next start.
    folder: Option<PathBuf>,
    board: Arc<Board>,
    kept: Option<(Arc<GeoSource>, Option<AbortHandle>)>,
}

impl GeoKeeper {
    pub(super) fn new(transport: Arc<dyn Transport>, folder: Option<PathBuf>, board: Arc<Board>) -> Self {
        Self {
            transport,
            folder,
            board,
            kept: None,
        }
    }

    /// Turns to this source. What can be read at once is in force when it returns, so that the first hit finds it.
    pub(super) fn keep(&mut self, source: Option<&Arc<GeoSource>>) {
        let is_kept = |(kept, _): &(Arc<GeoSource>, _)| source.is_some_and(|source| Arc::ptr_eq(source, kept));
        if self.kept.as_ref().is_some_and(is_kept) {
            return;
        }
        if let Some((_, Some(task))) = self.kept.take() {
            task.abort();
        }
        self.board.set_geo(None);
        self.kept = source.map(|source| (Arc::clone(source), self.start(source)));
    }

    fn start(&self, source: &Arc<GeoSource>) -> Option<AbortHandle> {
        let GeoSource::Database(database) = &**source else {
            return None;
        };
        let force = InForce {
            source: Arc::clone(source),
            board: Arc::clone(&self.board),
        };
        let task = match database.origin() {
            Origin::File(path) => {
                let mut file = File {
                    path: path.clone(),
                    seen: None,
                };
                file.look(&force);
                tokio::spawn(watch(file, force))
            }
            Origin::Url { url, refresh } => {
                let place = self.folder.as_ref().map(|folder| Store::of(folder, url));
                if let Some(place) = &place {
                    place.load(&force);
                }
                let fetcher = Fetcher {
                    transport: Arc::clone(&self.transport),
                    url: url.clone(),
                    etag: None,
                    store: place,
                };
                tokio::spawn(refetch(fetcher, *refresh, force))
            }
        };
        Some(task.abort_handle())
    }
}

impl Drop for GeoKeeper {
    fn drop(&mut self) {
        self.keep(None);
    }
}

/// The database that hits read, and what `/status` says of it.
#[derive(Clone)]
struct InForce {
    source: Arc<GeoSource>,
    board: Arc<Board>,
}

impl InForce {
    fn database(&self) -> Option<&Database> {
        match &*self.source {
            GeoSource::Database(database) => Some(database),
            GeoSource::Headers(_) => None,
        }
    }

    /// Brings bytes into force; whether they are good.
    fn replace(&self, bytes: Bytes, from: &str) -> bool {
        let Some(database) = self.database() else { return false };
        match database.replace(bytes) {
            Ok(metadata) => {
                tracing::info!(
                    from,
                    database = metadata.database_type,
                    "the database of places is in force"
                );
                let built_s = i64::try_from(metadata.build_epoch).ok();
                self.board.set_geo(Some(GeoStatus {
                    source: from.to_owned(),
                    database: Some(metadata.database_type),
                    built_ms: built_s.and_then(|built| built.checked_mul(1_000)),
                    last_error: None,
                }));
                true
            }
            Err(error) => {
                self.failed(from, &error.to_string());
                false
            }
        }
    }

    fn failed(&self, from: &str, error: &str) {
        let told = self.board.geo().unwrap_or_default();
        let rest = match told.database {
            Some(_) => "the last good one stays",
            None => "no visitor is located",
        };
        tracing::warn!(
            from,
            "the database of places of enrich.geo cannot be used, {rest}: {error}"
        );
        self.board.set_geo(Some(GeoStatus {
            source: from.to_owned(),
            last_error: Some(LastError {
                at_ms: clock::now_ms(),
                message: error.to_owned(),
            }),
            ..told
        }));
    }

    /// The newest is the one in force.
    fn is_current(&self) {
        if let Some(told) = self.board.geo() {
            self.board.set_geo(Some(GeoStatus {
                last_error: None,
                ..told
            }));
        }
    }
}

/// A file, and how it looked when it was read last.
struct File {
    path: PathBuf,
    seen: Option<Look>,
}

/// What changes with a file's content, as far as can be told without reading it.
#[derive(PartialEq, Eq)]
enum Look {
    Absent(io::ErrorKind),
    There(Option<SystemTime>, u64),
}

impl File {
    /// Reads it if it has changed.
    fn look(&mut self, force: &InForce) {
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => Look::There(metadata.modified().ok(), metadata.len()),
            Err(error) => Look::Absent(error.kind()),
        };
        if self.seen.as_ref() == Some(&now) {
            return;
        }
        self.seen = Some(now);
        let from = self.path.display().to_string();
        match read(&self.path) {
            Ok(bytes) => drop(force.replace(bytes, &from)),
            Err(error) => force.failed(&from, &format!("it cannot be read: {error}")),
        }
    }
}

/// Up to one byte more than is taken.
fn read(path: &Path) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

async fn watch(mut file: File, force: InForce) {
    loop {
        sleep(LOOK).await;
        let force = force.clone();
        let looked = spawn_blocking(move || {
            file.look(&force);
            file
        });
        match looked.await {
            Ok(looked) => file = looked,
            Err(error) => return tracing::error!(%error, "the database of places is no longer watched"),
        }
    }
}

/// Where what was fetched from an address is kept.
#[derive(Clone)]
struct Store {
    folder: PathBuf,
    name: String,
}

impl Store {
    fn of(folder: &Path, url: &Url) -> Self {
        let digest = sha256_hex(url.as_str().as_bytes());
        let digest = digest.get(..12).unwrap_or_default();
        Self {
            folder: folder.to_owned(),
            name: format!("{KEPT}{digest}.mmdb"),
        }
    }

    fn load(&self, force: &InForce) {
        let path = self.folder.join(&self.name);
        match read(&path) {
            Ok(bytes) => drop(force.replace(bytes, &path.display().to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => force.failed(&path.display().to_string(), &format!("it cannot be read: {error}")),
        }
    }

    /// Replaces what was kept, of other addresses too.
    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let new = self.folder.join(format!("{}.new", self.name));
        fs::write(&new, bytes)?;
        fs::rename(&new, self.folder.join(&self.name))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(KEPT) && name != self.name)
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// An address.
struct Fetcher {
    transport: Arc<dyn Transport>,
    url: Url,
    /// Of what is in force.
    etag: Option<HeaderValue>,
    store: Option<Store>,
}

async fn refetch(mut fetcher: Fetcher, refresh: Duration, force: InForce) {
    let mut failures = 0;
    loop {
        failures = if fetcher.fetch(&force).await { 0 } else { failures + 1 };
        sleep(wait(failures, refresh)).await;
    }
}

/// The wait until the next fetch.
fn wait(failures: u32, refresh: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => refresh,
        Some(before) => FIRST_WAIT
            .saturating_mul(1 << before.min(6))
            .min(LONGEST_WAIT)
            .min(refresh),
    }
}

impl Fetcher {
    /// Fetches once; whether what is there is in force.
    async fn fetch(&mut self, force: &InForce) -> bool {
        let request = self.request();
        let from = request.target();
        let answer = match timeout(FETCH, self.transport.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                force.failed(&from, &error.to_string());
                return false;
            }
            Err(_) => {
                force.failed(&from, &format!("{from} did not send it within {} s", FETCH.as_secs()));
                return false;
            }
        };
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => {
                force.is_current();
                return true;
            }
            status if status.is_redirection() => {
                let message =
                    format!("{from} answers {status}, and redirects are not followed: give the file's own address");
                force.failed(&from, &message);
                return false;
            }
            status => {
                force.failed(&from, &format!("{from} answers {status}"));
                return false;
            }
        }
        let (force, store, body) = (force.clone(), self.store.clone(), answer.body);
        let taken = spawn_blocking(move || {
            let good = force.replace(body.clone(), &from);
            if good
                && let Some(store) = store
                && let Err(error) = store.put(&body)
            {
                tracing::warn!(%error, "the database of places cannot be kept for the next start");
            }
            good
        });
        let good = taken.await.unwrap_or_default();
        if good {
            self.etag = answer.headers.get(ETAG).cloned();
        }
        good
    }

    fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, destinations::USER_AGENT);
        if let Some(etag) = &self.etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        Request {
            method: Method::GET,
            url: self.url.clone(),
            headers,
            body: Bytes::new(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }
}

#[cfg(test)]
mod tests;
