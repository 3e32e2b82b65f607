//! What a failing database means to whoever asked, in one place.

use latchstring_model::{Code, Problem};
use latchstring_store::{StoreError, Taken};

/// Translates what no use case expects: the rest is matched where it happens.
pub fn store(error: StoreError) -> Box<Problem> {
    let problem = match &error {
        StoreError::Busy(_) => Problem::new(Code::Busy, "The database is busy; nothing was changed.")
            .hint("Try again in a moment.")
            .retry_after(1),
        StoreError::Unreachable(_) => {
            Problem::new(Code::Unavailable, "The database cannot be reached; nothing was changed.")
                .hint("Try again soon; if it stays so, tell whoever runs this server.")
                .retry_after(2)
        }
        StoreError::ReadOnly | StoreError::DiskFull | StoreError::DiskFault | StoreError::CannotOpen(_) => {
            Problem::new(Code::Unavailable, error.to_string())
                .hint("Whoever runs this server has to put that right.")
                .retry_after(30)
        }
        StoreError::Moved => Problem::new(
            Code::PreconditionFailed,
            "It was changed by somebody else meanwhile; nothing was overwritten.",
        )
        .hint("Read it again, look at what changed, and send your change on top of that."),
        StoreError::Taken(
            Taken::Member
            | Taken::Share
            | Taken::Grant
            | Taken::ClaimedName
            | Taken::IdempotencyKey
            | Taken::AuditNumber
            | Taken::Other,
        ) => {
            Problem::new(Code::ChangedMeanwhile, "Somebody did the same at that moment; nothing was changed.")
                .hint("Read it again; it may be as you want it already.")
        }
        StoreError::Taken(_) => Problem::new(Code::NameTaken, "That name is taken.")
            .hint("Choose another one; nothing was changed."),
        StoreError::ReferenceGone => {
            Problem::new(Code::ChangedMeanwhile, "Something that this refers to has been removed meanwhile.")
                .hint("Read it again and try once more.")
        }
        StoreError::BadCursor => {
            Problem::new(Code::CursorInvalid, "The cursor is not one that this list gave out.")
                .hint("Start the list again without `cursor`.")
        }
        _ => return internal(&error),
    };
    if matches!(
        error,
        StoreError::Busy(_)
            | StoreError::Unreachable(_)
            | StoreError::ReadOnly
            | StoreError::DiskFull
            | StoreError::DiskFault
    ) {
        tracing::warn!(error = %error, "the database refused a use case");
    }
    problem.into()
}

/// A fault of ours: the log has the reason, the answer does not.
pub fn internal(error: &dyn std::fmt::Display) -> Box<Problem> {
    tracing::error!(error = %error, "a use case failed inside");
    Problem::new(
        Code::Internal,
        "Latchstring could not do that because of a fault of its own; nothing was changed.",
    )
    .hint("The server's log says more at this time; whoever runs it can read it.")
    .into()
}

/// There may be no more of a kind, and whoever asks can make room.
pub fn limit_reached(most: i64, detail: String, hint: &'static str) -> Box<Problem> {
    Problem::new(Code::LimitReached, detail).hint(hint).with("limit", most.into()).into()
}

pub fn not_found(what: &'static str) -> Box<Problem> {
    Problem::new(Code::NotFound, what)
        .hint("It does not exist, or it is not yours to see; both look the same from outside.")
        .into()
}
