//! What errors become.

use super::*;
use crate::upload::{ReceiveError, SessionError};

#[test]
fn a_store_that_is_away_is_waited_for() {
    let away = || StoreError::Unavailable {
        source: "it is away".into(),
    };
    let problems = [
        Problem::from(away()),
        Problem::from(ReadError::Store(away())),
        Problem::from(crate::grant::GrantError::Store(away())),
        Problem::from(ReceiveError::Store(away())),
        Problem::from(SessionError::from(away())),
    ];
    for problem in problems {
        assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem.code, "store-unavailable");
        let wait = problem
            .headers
            .iter()
            .find(|(name, _)| *name == RETRY_AFTER);
        assert_eq!(wait.unwrap().1, "5");
        // What the log is told and nobody else.
        assert!(problem.cause.is_some() && !problem.detail.contains("it is away"));
    }
}

#[test]
fn what_another_server_went_on_with_is_taken_over() {
    for problem in [
        Problem::from(StoreError::Overtaken),
        Problem::from(SessionError::from(StoreError::Overtaken)),
    ] {
        assert_eq!(
            (problem.status, problem.code),
            (StatusCode::CONFLICT, "upload-taken-over")
        );
    }
}
