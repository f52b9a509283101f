use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqscope_testkit::MariaDb;

use super::end::place;
use crate::servers::again::{again, role, tell, told};

/// The program that the kit takes, for those who put another one before it.
fn program(variable: &str, names: [&str; 2]) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let folders = || env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = names.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|path| path.is_file()));
    env::var_os(variable).map(PathBuf::from).or(found).unwrap()
}

/// Writes a program that everybody may run.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder in which everybody may write.
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
async fn a_server_that_refuses_its_options_says_why() {
    let error = MariaDb::builder().option("no_such_option", 1).start().await.unwrap_err();
    assert!(!error.is_missing() && !error.is_timeout());
    let said = error.to_string();
    assert!(said.contains("exit status: "), "{said}");
    assert!(said.contains("unknown variable 'no_such_option=1'"), "{said}");
    assert_eq!(format!("{error:?}"), said, "what `unwrap` shows can be read");
}

#[tokio::test]
async fn two_servers_have_nothing_in_common() {
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
async fn a_port_that_another_process_has_taken_meanwhile_is_left_to_it() {
    let test = "servers::with_server::start::a_port_that_another_process_has_taken_meanwhile_is_left_to_it";
    if role().is_some() {
        match MariaDb::start().await {
            Ok(server) => tell(server.query("SELECT 1").await.unwrap()),
            Err(error) => tell(error.to_string().replace('\n', " ")),
        }
        return;
    }
    let server = program("REQSCOPE_MARIADBD_BIN", ["mariadbd", "mysqld"]);
    for (taken, outcome) in [(0, "1"), (4, "1"), (5, "Address already in use")] {
        let place = place();
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
        let mut process = again(test, "start").env("REQSCOPE_MARIADBD_BIN", &wrapper).spawn().unwrap();
        let said = told(&mut process).unwrap();
        process.wait().unwrap();
        assert!(said.ends_with(outcome), "{taken}: {said}");
        assert_eq!(fs::read_dir(&tries).unwrap().count(), (taken + 1).min(5));
    }
}

#[tokio::test]
async fn of_those_who_start_at_the_same_time_one_initialises_and_all_have_a_server() {
    let test =
        "servers::with_server::start::of_those_who_start_at_the_same_time_one_initialises_and_all_have_a_server";
    if role().is_some() {
        let (one, other) = tokio::join!(MariaDb::start(), MariaDb::start());
        let (one, other) = (one.unwrap(), other.unwrap());
        tell(one.query("SELECT 1").await.unwrap() + &other.query("SHOW TABLES").await.unwrap());
        return;
    }
    let place = place();
    let calls = open(place.path().join("calls"));
    let wrapper = place.path().join("install");
    let install = program("REQSCOPE_MARIADB_INSTALL_DB_BIN", ["mariadb-install-db", "mysql_install_db"]);
    script(&wrapper, &format!("touch {}/$$\nexec {} \"$@\"", calls.display(), install.display()));
    let cache = place.path().join("cache");
    let start = || {
        let mut command = again(test, "start");
        command.env("REQSCOPE_MARIADB_INSTALL_DB_BIN", &wrapper).env("XDG_CACHE_HOME", &cache).spawn().unwrap()
    };
    let mut processes = [start(), start(), start()];
    for process in &mut processes {
        assert_eq!(told(process).as_deref(), Some("1"));
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(fs::read_dir(calls).unwrap().count(), 1);
    let files = fs::read_dir(cache.join("reqscope/servers")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".tar")).count(), 1, "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
}

#[tokio::test]
async fn a_user_without_a_cache_folder_has_a_server_nevertheless() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        return tell(server.query("SELECT 1").await.unwrap());
    }
    let test = "servers::with_server::start::a_user_without_a_cache_folder_has_a_server_nevertheless";
    let mut unwritable = again(test, "start");
    unwritable.env("XDG_CACHE_HOME", "/dev/null/cache");
    let mut homeless = again(test, "start");
    homeless.env_remove("XDG_CACHE_HOME").env_remove("HOME");
    for mut command in [unwritable, homeless] {
        let mut process = command.spawn().unwrap();
        assert_eq!(told(&mut process).as_deref(), Some("1"));
        assert!(process.wait().unwrap().success());
    }
}

/// A client and a server hear of much in the environment that is meant for others.
#[tokio::test]
async fn the_environment_leads_nobody_astray() {
    if role().is_some() {
        let server = MariaDb::start().await.unwrap();
        return tell(server.query("SELECT USER(), @@port <> 1, @@tmpdir <> '/nowhere'").await.unwrap());
    }
    let test = "servers::with_server::start::the_environment_leads_nobody_astray";
    let mut process = again(test, "start")
        .envs([("MYSQL_PWD", "wrong"), ("MYSQL_HOST", "192.0.2.1"), ("MYSQL_TCP_PORT", "1")])
        .envs([("MYSQL_UNIX_PORT", "/nowhere"), ("LC_ALL", "de_DE.UTF-8"), ("PATH", "/nowhere:/usr/bin")])
        .env("TMPDIR", format!("/tmp/{}", "long/".repeat(30)))
        .spawn()
        .unwrap();
    assert_eq!(told(&mut process).as_deref(), Some("root@localhost\t1\t1"));
    assert!(process.wait().unwrap().success());
}
