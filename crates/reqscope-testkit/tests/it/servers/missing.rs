use std::fs;

use reqscope_testkit::MariaDb;

use super::subprocess::{next_line, report, rerun, role};

/// Returns the error of a start in a process with these variables.
#[track_caller]
fn start_error(test: &str, variables: &[(&str, &str)]) -> String {
    let mut process =
        rerun(&format!("servers::missing::{test}"), "start").envs(variables.iter().copied()).spawn().unwrap();
    let line = next_line(&mut process);
    assert!(process.wait().unwrap().success());
    line.unwrap()
}

/// Runs in that process.
async fn report_start_error() {
    let error = MariaDb::start().await.unwrap_err();
    assert!(error.is_missing());
    assert!(!error.is_timeout());
    report(error);
}

#[tokio::test]
async fn variable_without_a_program_is_named_in_the_error() {
    if role().is_some() {
        return report_start_error().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("mariadbd");
    fs::write(&text, "no program").unwrap();
    for path in ["/nowhere/mariadbd", "", text.to_str().unwrap(), folder.path().to_str().unwrap()] {
        let said =
            start_error("variable_without_a_program_is_named_in_the_error", &[("REQSCOPE_MARIADBD_BIN", path)]);
        let expected = format!("REQSCOPE_MARIADBD_BIN is set to {path}, which is no executable file");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("Debian's package mariadb-server"), "{said}");
    }
}

#[tokio::test]
async fn foreign_server_is_named_in_the_error() {
    if role().is_some() {
        return report_start_error().await;
    }
    let echo = fs::canonicalize("/bin/echo").unwrap();
    let said = start_error(
        "foreign_server_is_named_in_the_error",
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
