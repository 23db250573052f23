#![allow(clippy::unwrap_used)]
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::{
    delivery::client::{Sending, TransportError},
    destinations::Response,
    pipeline::geo::mmdb::{self, city},
};

const VISITOR: [u8; 4] = [203, 0, 113, 7];

fn database_of(country: &str) -> Vec<u8> {
    mmdb::database(
        "GeoLite2-City",
        &[("203.0.113.0/24", city("EU", country, "1", "a city"))],
    )
}

fn source(origin: Origin) -> Arc<GeoSource> {
    Arc::new(GeoSource::Database(Database::new(origin)))
}

fn of_url() -> Arc<GeoSource> {
    source(Origin::Url {
        url: address(),
        refresh: Duration::from_secs(3600),
    })
}

fn address() -> Url {
    "https://files.example/hunter2/city.mmdb".parse().unwrap()
}

fn country(source: &GeoSource) -> Option<String> {
    match source {
        GeoSource::Database(database) => database.locate(VISITOR.into())?.country,
        GeoSource::Headers(_) => None,
    }
}

/// Answers in turn, and keeps what it was asked.
#[derive(Default)]
struct Server {
    answers: Mutex<VecDeque<Result<Response, TransportError>>>,
    asked: Mutex<Vec<HeaderMap>>,
}

impl Server {
    fn will(&self, status: u16, etag: Option<&'static str>, body: impl Into<Bytes>) {
        let mut headers = HeaderMap::new();
        if let Some(etag) = etag {
            headers.insert(ETAG, HeaderValue::from_static(etag));
        }
        let answer = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
            trailers: HeaderMap::new(),
        };
        self.answers.lock().unwrap().push_back(Ok(answer));
    }

    fn will_be_away(&self) {
        let reason = "connection refused".to_owned();
        let target = "https://files.example".to_owned();
        let away = TransportError::Connect { target, reason };
        self.answers.lock().unwrap().push_back(Err(away));
    }
}

impl Transport for Server {
    fn send(&self, request: Request) -> Sending<'_> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.headers);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

struct World {
    server: Arc<Server>,
    board: Arc<Board>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            server: Arc::default(),
            board: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn force(&self, source: &Arc<GeoSource>) -> InForce {
        InForce {
            source: Arc::clone(source),
            board: Arc::clone(&self.board),
        }
    }

    fn keeper(&self) -> GeoKeeper {
        let transport = Arc::clone(&self.server);
        let folder = Some(self.folder.path().to_owned());
        GeoKeeper::new(transport, folder, Arc::clone(&self.board))
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher {
            transport: Arc::clone(&self.server) as _,
            url: address(),
            etag: None,
            store: Some(Store::of(self.folder.path(), &address())),
        }
    }

    fn error(&self) -> Option<String> {
        Some(self.board.geo()?.last_error?.message)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_file_is_in_force_at_once_and_again_when_it_changes() {
    let world = World::new();
    let path = world.folder.path().join("city.mmdb");
    fs::write(&path, database_of("DE")).unwrap();
    let places = source(Origin::File(path.clone()));
    world.keeper().keep(Some(&places));
    assert_eq!(country(&places).as_deref(), Some("DE"), "before anything has waited");

    let mut keeper = world.keeper();
    keeper.keep(Some(&places));
    let told = world.board.geo().unwrap();
    assert_eq!(told.database.as_deref(), Some("GeoLite2-City"));
    assert_eq!((told.built_ms, told.last_error), (Some(1_768_476_420_000), None));
}

#[test]
fn what_becomes_of_a_file_over_time() {
    let world = World::new();
    let path = world.folder.path().join("city.mmdb");
    let places = source(Origin::File(path.clone()));
    let force = world.force(&places);
    let mut file = File {
        path: path.clone(),
        seen: None,
    };
    file.look(&force);
    assert_eq!(country(&places), None, "it is not there yet");
    assert!(world.error().unwrap().contains("cannot be read"), "{:?}", world.error());

    fs::write(&path, database_of("DE")).unwrap();
    file.look(&force);
    assert_eq!((country(&places).as_deref(), world.error()), (Some("DE"), None));

    fs::write(&path, "half a file").unwrap();
    file.look(&force);
    assert_eq!(country(&places).as_deref(), Some("DE"), "the last good one stays");
    assert!(world.error().unwrap().contains("no database"), "{:?}", world.error());

    fs::remove_file(&path).unwrap();
    file.look(&force);
    assert_eq!(country(&places).as_deref(), Some("DE"));

    fs::write(&path, database_of("AUT").as_slice()).unwrap();
    file.look(&force);
    assert_eq!(country(&places), None, "no code of a country");
    fs::write(&path, [database_of("AT"), Vec::new()].concat()).unwrap();
    let newer = SystemTime::now() + Duration::from_secs(5);
    fs::File::open(&path).unwrap().set_modified(newer).unwrap();
    file.look(&force);
    assert_eq!((country(&places).as_deref(), world.error()), (Some("AT"), None));
}

#[tokio::test]
async fn what_is_fetched_is_in_force_and_there_at_the_next_start() {
    let world = World::new();
    world.server.will(200, None, database_of("DE"));
    let places = of_url();
    assert!(world.fetcher().fetch(&world.force(&places)).await);
    assert_eq!(country(&places).as_deref(), Some("DE"));
    assert_eq!(
        world.board.geo().unwrap().source,
        "https://files.example",
        "the path may be a secret"
    );

    let again = of_url();
    world.keeper().keep(Some(&again));
    assert_eq!(country(&again).as_deref(), Some("DE"), "before it is fetched");
}

#[tokio::test]
async fn what_cannot_be_fetched_leaves_the_last_good_one() {
    let world = World::new();
    let places = of_url();
    let force = world.force(&places);
    let mut fetcher = world.fetcher();
    world.server.will(200, None, database_of("DE"));
    assert!(fetcher.fetch(&force).await);
    world.server.will(200, None, "<html>");
    world.server.will(404, None, "");
    world.server.will(302, None, "");
    world.server.will_be_away();
    for reason in ["no database", "404", "redirects are not followed", "connection refused"] {
        assert!(!fetcher.fetch(&force).await);
        assert_eq!(country(&places).as_deref(), Some("DE"));
        let error = world.error().unwrap();
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
    let kept = of_url();
    Store::of(world.folder.path(), &address()).load(&world.force(&kept));
    assert_eq!(country(&kept).as_deref(), Some("DE"), "the good one is what was kept");
}

#[tokio::test]
async fn what_has_not_changed_is_not_fetched_again() {
    let world = World::new();
    let places = of_url();
    let force = world.force(&places);
    let mut fetcher = world.fetcher();
    world.server.will(200, Some("\"v1\""), database_of("DE"));
    world.server.will_be_away();
    world.server.will(304, None, "");
    assert!(fetcher.fetch(&force).await);
    assert!(!fetcher.fetch(&force).await);
    assert!(fetcher.fetch(&force).await);
    assert_eq!((country(&places).as_deref(), world.error()), (Some("DE"), None));
    let asked = world.server.asked.lock().unwrap();
    let etags: Vec<_> = asked
        .iter()
        .map(|headers| headers.get(IF_NONE_MATCH).cloned())
        .collect();
    let v1 = Some(HeaderValue::from_static("\"v1\""));
    assert_eq!(etags, [None, v1.clone(), v1]);
}

#[test]
fn one_file_is_kept_of_the_newest_address() {
    let world = World::new();
    let old = Store::of(world.folder.path(), &"https://old.example/".parse().unwrap());
    old.put(b"old").unwrap();
    let new = Store::of(world.folder.path(), &address());
    new.put(b"new").unwrap();
    new.put(b"newer").unwrap();
    assert_eq!(world.files(), [new.name.clone()]);
    assert_eq!(fs::read(world.folder.path().join(&new.name)).unwrap(), b"newer");
}

#[tokio::test]
async fn a_source_that_is_no_longer_wanted_is_let_go() {
    let world = World::new();
    let path = world.folder.path().join("city.mmdb");
    fs::write(&path, database_of("DE")).unwrap();
    let places = source(Origin::File(path));
    let mut keeper = world.keeper();
    keeper.keep(Some(&places));
    assert!(world.board.geo().is_some());
    keeper.keep(None);
    assert_eq!(world.board.geo(), None);
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&places), 1, "nobody watches for it");
}

#[test]
fn failed_fetches_are_tried_again_ever_later() {
    let day = Duration::from_secs(24 * 3600);
    let minutes: Vec<u64> = (0..9).map(|failures| wait(failures, day).as_secs() / 60).collect();
    assert_eq!(minutes, [24 * 60, 1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(wait(5, Duration::from_secs(30)), Duration::from_secs(30));
}
