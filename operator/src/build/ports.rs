//! The ports of a gateway and their names.

/// The public listener's port in a pod.
pub(super) const HTTP: u16 = 8080;
/// The name of the public listener's port, in pods and Services.
pub(super) const HTTP_NAME: &str = "http";
/// The Service's port that leads to the public listener.
pub(super) const SERVICE_HTTP: u16 = 80;
/// The admin listener's port, in pods and Services.
pub(super) const ADMIN: u16 = 9090;
/// The name of the admin listener's port, in pods and Services.
pub(super) const ADMIN_NAME: &str = "admin";
/// The name of the headless Service's port. Not `admin`: a ServiceMonitor that selects both Services by their labels would
/// scrape every pod twice.
pub(super) const PEERS_NAME: &str = "peers";
