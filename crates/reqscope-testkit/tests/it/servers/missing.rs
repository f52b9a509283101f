use std::fs;

use reqscope_testkit::MariaDb;

use super::again::{again, role, tell, told};

/// What the start of a server says in an environment with these variables.
#[track_caller]
fn complaint(test: &str, variables: &[(&str, &str)]) -> String {
    let mut process =
        again(&format!("servers::missing::{test}"), "start").envs(variables.iter().copied()).spawn().unwrap();
    let line = told(&mut process);
    assert!(process.wait().unwrap().success());
    line.unwrap()
}

/// The other side of it.
async fn complain() {
    let error = MariaDb::start().await.unwrap_err();
    assert!(error.is_missing());
    assert!(!error.is_timeout());
    tell(error);
}

#[tokio::test]
async fn a_variable_that_names_no_program_is_named_itself() {
    if role().is_some() {
        return complain().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("mariadbd");
    fs::write(&text, "no program").unwrap();
    for path in ["/nowhere/mariadbd", "", text.to_str().unwrap(), folder.path().to_str().unwrap()] {
        let said = complaint("a_variable_that_names_no_program_is_named_itself", &[("REQSCOPE_MARIADBD_BIN", path)]);
        let expected = format!("REQSCOPE_MARIADBD_BIN is set to {path}, which is no executable file");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("Debian's package mariadb-server"), "{said}");
    }
}

#[tokio::test]
async fn a_server_of_another_make_is_told() {
    if role().is_some() {
        return complain().await;
    }
    let echo = fs::canonicalize("/bin/echo").unwrap();
    let said = complaint(
        "a_server_of_another_make_is_told",
        &[
            ("REQSCOPE_MARIADBD_BIN", echo.to_str().unwrap()),
            ("REQSCOPE_MARIADB_BIN", echo.to_str().unwrap()),
            ("REQSCOPE_MARIADB_INSTALL_DB_BIN", echo.to_str().unwrap()),
        ],
    );
    for part in [echo.to_str().unwrap(), "--version", "REQSCOPE_MARIADBD_BIN", "package mariadb-server"] {
        assert!(said.contains(part), "{said}");
    }
}
