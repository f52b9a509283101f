use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::servers::binary::Binary;
use crate::servers::error::{Kind, ServerError};
use crate::servers::folder::Folder;
use crate::servers::process::Process;
use crate::servers::template;
use crate::servers::user::UnixUser;

/// The Debian package.
pub(super) const PACKAGE: &str = "mariadb-server";

/// The user that the package creates for the server.
pub(super) const USER: &str = "mysql";

/// Increased when a template is created in another way than before.
const REVISION: u32 = 1;

/// Small, because it is copied for each server.
pub(super) const LOG_SIZE: &str = "--innodb-log-file-size=4M";

/// How long the initialisation may take. It takes a second on a machine that is not busy.
const INSTALL: Duration = Duration::from_secs(100);

const FOLDERS: &[&str] = &["/usr/libexec", "/usr/local/mysql/bin", "/usr/local/mysql/scripts"];

const SERVER: Binary =
    Binary { names: &["mariadbd", "mysqld"], variable: "REQSCOPE_MARIADBD_BIN", folders: FOLDERS, package: PACKAGE };

const INSTALL_DB: Binary = Binary {
    names: &["mariadb-install-db", "mysql_install_db"],
    variable: "REQSCOPE_MARIADB_INSTALL_DB_BIN",
    folders: FOLDERS,
    package: PACKAGE,
};

const CLIENT: Binary =
    Binary { names: &["mariadb", "mysql"], variable: "REQSCOPE_MARIADB_BIN", folders: FOLDERS, package: PACKAGE };

/// The programs that a server needs.
pub(super) struct Binaries {
    pub(super) server: PathBuf,
    pub(super) client: PathBuf,
    install_db: PathBuf,
    version: String,
}

impl Binaries {
    pub(super) fn find() -> Result<Binaries, ServerError> {
        let server = SERVER.find()?;
        let (client, install_db) = (CLIENT.find()?, INSTALL_DB.find()?);
        let version = version(&server)?;
        Ok(Binaries { server, client, install_db, version })
    }

    /// Fills the data folder of a new server: system tables, `root` without a password, and the empty database `test`.
    pub(super) fn fill(&self, data: &Path, folder: &mut Folder, user: Option<UnixUser>) -> Result<(), ServerError> {
        template::fill(&format!("mariadb-{}-{REVISION}", self.version), data, user, || {
            let mut datadir = OsString::from("--datadir=");
            datadir.push(data);
            let arguments = [
                "--no-defaults".into(),
                datadir,
                "--auth-root-authentication-method=normal".into(),
                "--skip-test-db".into(),
                LOG_SIZE.into(),
            ];
            Process::run(folder, user, &self.install_db, &arguments, INSTALL)?;
            let test = data.join("test");
            fs::create_dir(&test).map_err(ServerError::io(format!("make {}", test.display())))?;
            user.map_or(Ok(()), |user| user.own(&test))
        })
    }
}

/// Returns the version, such as `10.11.14-MariaDB-0+deb12u2`.
fn version(server: &Path) -> Result<String, ServerError> {
    let doing = || ServerError::io(format!("run {}", server.display()));
    let output = Command::new(server).args(["--no-defaults", "--version"]).output().map_err(doing())?;
    let says = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = says.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
    if let Some(version) = version.filter(|version| version.contains("MariaDB") && !version.contains('/')) {
        return Ok(version.to_owned());
    }
    let (variable, package) = (SERVER.variable, SERVER.package);
    Err(Kind::Foreign { path: server.to_owned(), says, variable, package }.into())
}
