//! TLS: connections are verified or refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqscope::{Error, Lease, Resource};
use reqscope_mysql::mysql_async::SslOpts;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlError};
use reqscope_testkit::{FaultProxy, MariaDb};
use tempfile::TempDir;

use crate::with_server::support::PATIENCE;

/// A certificate authority, and its certificate for `localhost`, in files that a server of another user can read.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new([String::from("localhost")]).unwrap().signed_by(&key, &issuer).unwrap();

        let authority = Authority { folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(authority.folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(authority.file("root.pem"), issuer.pem()).unwrap();
        fs::write(authority.file("cert.pem"), cert.pem()).unwrap();
        fs::write(authority.file("key.pem"), key.serialize_pem()).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server with this certificate, and a user `app` that requires TLS.
    async fn server(&self) -> MariaDb {
        let mut builder = MariaDb::builder();
        for (option, file) in [("ssl_ca", "root.pem"), ("ssl_cert", "cert.pem"), ("ssl_key", "key.pem")] {
            builder = builder.option(option, self.file(file).display());
        }
        let server = builder.start().await.unwrap();
        server.query("CREATE USER app REQUIRE SSL; GRANT ALL ON test.* TO app").await.unwrap();
        server
    }

    fn trusted(&self) -> SslOpts {
        trusting(&self.file("root.pem"))
    }
}

fn trusting(root: &Path) -> SslOpts {
    SslOpts::default().with_root_certs(vec![root.to_owned().into()])
}

fn mysql(server: &MariaDb, user: &str, host: &str, tls: SslOpts) -> MySql {
    MySql::builder(&format!("mysql://{user}@{host}:{}/test", server.port())).unwrap().tls(tls).build()
}

/// Returns whether the server was refused because of its certificate.
fn is_for_its_certificate(error: &Error<MySqlError>) -> bool {
    format!("{error:?}").contains("InvalidCertificate")
}

#[tokio::test]
async fn verified_connection_and_its_control_connection_use_tls() {
    let authority = Authority::new();
    let server = authority.server().await;
    let mysql = std::sync::Arc::new(mysql(&server, "app", "localhost", authority.trusted()));
    // The control connection belongs to the same user, which requires TLS.
    let mut lease = Lease::acquire(&mysql).await.unwrap();
    let cipher: Option<(String, String)> = lease.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.unwrap();
    let (_, cipher) = cipher.unwrap();
    assert!(!cipher.is_empty());
    assert!(format!("{mysql:?}").contains("tls: true"), "{mysql:?}");
    Lease::complete(lease).await.unwrap();
}

#[tokio::test]
async fn user_that_requires_tls_is_refused_without_it() {
    let authority = Authority::new();
    let server = authority.server().await;
    let plain = MySql::new(&server.url().replace("root@", "app@")).unwrap();
    let error = plain.acquire().await.unwrap_err();
    assert!(error.is_permanent(), "access is denied: {error:?}");
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = authority.server().await;
    for tls in [foreign.trusted(), SslOpts::default()] {
        let error = mysql(&server, "root", "localhost", tls).acquire().await.unwrap_err();
        assert!(is_for_its_certificate(&error), "{error:?}");
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = authority.server().await;
    let error = mysql(&server, "root", "127.0.0.1", authority.trusted()).acquire().await.unwrap_err();
    assert!(is_for_its_certificate(&error), "{error:?}");
}

#[tokio::test]
async fn server_without_tls_is_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let server = MariaDb::builder().option("skip_ssl", 1).start().await.unwrap();
    let proxy = FaultProxy::start(server.address()).unwrap();
    let url = format!("mysql://root@localhost:{}/test", proxy.addr().port());
    let mysql = MySql::builder(&url).unwrap().tls(authority.trusted()).build();
    let error = mysql.acquire().await.unwrap_err();
    assert!(format!("{error:?}").contains("NoClientSslFlagFromServer"), "{error:?}");
    let left = proxy.until(PATIENCE, |traffic| traffic.left_by_client == traffic.accepted).await;
    assert!(left.accepted > 0 && left.to_client > 0);
    assert_eq!(left.from_client, 0, "not a byte was sent");

    // It works without TLS, so the missing TLS was the reason.
    MySql::new(&url).unwrap().acquire().await.unwrap();
}
