//! The desk: what tells of the gateway, before there is anything to serve and after.

use std::{net::SocketAddr, sync::Arc};

use super::StartError;
use crate::{
    admin::{Admin, AdminServer},
    config::{applied::Findings, report::Reporter},
    metrics::Metrics,
    status::Board,
};

/// What tells of the gateway, before there is anything to serve and after.
pub(super) struct Desk {
    pub(super) metrics: Arc<Metrics>,
    pub(super) board: Arc<Board>,
    pub(super) admin: Arc<Admin>,
    pub(super) server: AdminServer,
    reporter: Reporter,
}

impl Desk {
    /// Opens the admin listener.
    pub(super) async fn open(address: SocketAddr, container: &str) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(container)?);
        let board = Arc::new(Board::new());
        let admin = Arc::new(Admin::new(container, Arc::clone(&board), Arc::clone(&metrics)));
        Ok(Self {
            server: AdminServer::start(address, Arc::clone(&admin)).await?,
            metrics,
            board,
            admin,
            reporter: Reporter::default(),
        })
    }

    /// Tells of what is refused.
    pub(super) fn report(&mut self, findings: &Findings) {
        self.reporter.report(findings, &self.metrics, &self.board);
    }
}
