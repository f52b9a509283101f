use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqscope_testkit::MariaDb;

use super::cleanup::temp_folder;
use crate::servers::subprocess::{next_line, report, rerun, role};

/// Returns the program that the kit finds, for a wrapper around it.
fn program(variable: &str, names: [&str; 2]) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let folders = || env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = names.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|path| path.is_file()));
    env::var_os(variable).map(PathBuf::from).or(found).unwrap()
}

/// Writes a program that every user may run.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Creates a folder in which every user may write.
fn open(path: PathBuf) -> PathBuf {
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    path
}

#[tokio::test]
async fn root_has_no_password_over_tcp() {
    let server = MariaDb::start().await.unwrap();
    let output = Command::new(program("REQSCOPE_MARIADB_BIN", ["mariadb", "mysql"]))
        .args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--protocol=tcp",
            "--host=127.0.0.1",
            "--user=root",
        ])
        .arg(format!("--port={}", server.port()))
        .args(["--execute", "CREATE TABLE t (id INT); SELECT CURRENT_USER(), DATABASE()", "test"])
        .env_remove("MYSQL_PWD")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("root@") && said.ends_with("\ttest\n"), "{said}{output:?}", output = output.stderr);
}

#[tokio::test]
async fn error_of_a_refused_option_has_the_log() {
    let error = MariaDb::builder().option("no_such_option", 1).start().await.unwrap_err();
    assert!(!error.is_missing() && !error.is_timeout());
    let said = error.to_string();
    assert!(said.contains("exit status: "), "{said}");
    assert!(said.contains("unknown variable 'no_such_option=1'"), "{said}");
    assert_eq!(format!("{error:?}"), said, "`unwrap` shows the same");
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (one, other) = tokio::join!(MariaDb::start(), MariaDb::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.port(), other.port());
    assert_ne!(one.folder(), other.folder());
    one.query("CREATE TABLE t (id INT)").await.unwrap();
    assert_eq!(other.query("SHOW TABLES").await.unwrap(), "");
    one.kill().await.unwrap();
    assert_eq!(other.query("SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn taken_port_is_left_to_its_owner() {
    let test = "servers::with_server::start::taken_port_is_left_to_its_owner";
    if role().is_some() {
        match MariaDb::start().await {
            Ok(server) => report(server.query("SELECT 1").await.unwrap()),
            Err(error) => report(error.to_string().replace('\n', " ")),
        }
        return;
    }
    let server = program("REQSCOPE_MARIADBD_BIN", ["mariadbd", "mysqld"]);
    for (taken, outcome) in [(0, "1"), (4, "1"), (5, "Address already in use")] {
        let place = temp_folder();
        let tries = open(place.path().join("tries"));
        let wrapper = place.path().join("mariadbd");
        script(
            &wrapper,
            &format!(
                "case $2 in --version) exec {server} \"$@\"; esac\n\
                 if mkdir {tries}/$(ls {tries} | wc -l) && [ $(ls {tries} | wc -l) -le {taken} ]; then\n\
                 echo \"Can't start server: Bind on TCP/IP port. Got error: 98: Address already in use\" >&2; exit 1\n\
                 fi\n\
                 exec {server} \"$@\"",
                server = server.display(),
                tries = tries.display(),
            ),
        );
        let mut process = rerun(test, "start").env("REQSCOPE_MARIADBD_BIN", &wrapper).spawn().unwrap();
        let said = next_line(&mut process).unwrap();
        process.wait().unwrap();
        assert!(said.ends_with(outcome), "{taken}: {said}");
        assert_eq!(fs::read_dir(&tries).unwrap().count(), (taken + 1).min(5));
    }
}

#[tokio::test]
async fn parallel_starts_initialise_once() {
    let test = "servers::with_server::start::parallel_starts_initialise_once";
    if role().is_some() {
        let (one, other) = tokio::join!(MariaDb::start(), MariaDb::start());
        let (one, other) = (one.unwrap(), other.unwrap());
        report(one.query("SELECT 1").await.unwrap() + &other.query("SHOW TABLES").await.unwrap());
        return;
    }
    let place = temp_folder();
    let calls = open(place.path().join("calls"));
    let wrapper = place.path().join("install");
    let install = program("REQSCOPE_MARIADB_INSTALL_DB_BIN", ["mariadb-install-db", "mysql_install_db"]);
    script(&wrapper, &format!("touch {}/$$\nexec {} \"$@\"", calls.display(), install.display()));
    let cache = place.path().join("cache");
    let start = || {
        let mut command = rerun(test, "start");
        command.env("REQSCOPE_MARIADB_INSTALL_DB_BIN", &wrapper).env("XDG_CACHE_HOME", &cache).spawn().unwrap()
    };
    let mut processes = [start(), start(), start()];
    for process in &mut processes {
        assert_eq!(next_line(process).as_deref(), Some("1"));
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(fs::read_dir(calls).unwrap().count(), 1);
    let files = fs::read_dir(cache.join("reqscope/servers")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".tar")).count(), 1, "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
}

#[tokio::test]
async fn server_starts_without_a_cache_folder() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        return report(server.query("SELECT 1").await.unwrap());
    }
    let test = "servers::with_server::start::server_starts_without_a_cache_folder";
    let mut unwritable = rerun(test, "start");
    unwritable.env("XDG_CACHE_HOME", "/dev/null/cache");
    let mut homeless = rerun(test, "start");
    homeless.env_remove("XDG_CACHE_HOME").env_remove("HOME");
    for mut command in [unwritable, homeless] {
        let mut process = command.spawn().unwrap();
        assert_eq!(next_line(&mut process).as_deref(), Some("1"));
        assert!(process.wait().unwrap().success());
    }
}

/// Variables of the environment configure other clients and servers of MariaDB.
#[tokio::test]
async fn environment_does_not_change_the_server() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        return report(server.query("SELECT USER(), @@port <> 1, @@tmpdir <> '/nowhere'").await.unwrap());
    }
    let test = "servers::with_server::start::environment_does_not_change_the_server";
    let mut process = rerun(test, "start")
        .envs([("MYSQL_PWD", "wrong"), ("MYSQL_HOST", "192.0.2.1"), ("MYSQL_TCP_PORT", "1")])
        .envs([("MYSQL_UNIX_PORT", "/nowhere"), ("LC_ALL", "de_DE.UTF-8"), ("PATH", "/nowhere:/usr/bin")])
        .env("TMPDIR", format!("/tmp/{}", "long/".repeat(30)))
        .spawn()
        .unwrap();
    assert_eq!(next_line(&mut process).as_deref(), Some("root@localhost\t1\t1"));
    assert!(process.wait().unwrap().success());
}
