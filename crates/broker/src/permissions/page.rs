//! `docs/permissions.md`, from the table.

use std::fmt::Write;

use latchstring_model::entity::Role;

use super::{Ground, Operation};

const HEAD: &str = "\
# Who may do what

This page is written from the table that the server itself decides by (`crates/broker/src/permissions`), and tests ask
every cell of it through the API and `/proxy` (`crates/server/tests/it/permissions.rs`). ✓ may; ○ may what was offered to
them; · may not: 403 `forbidden` with the role that is needed, where one knows the thing anyway, and 404 where one does not.
Where the project stands in the body (`shares`), a 422 points at it instead. **A thing that exists but is not yours and a
thing that does not exist answer the same**: same words, same headers, same work in the database.

Two cells cannot be asked: a service account is no member, so it has nothing to leave; and an owner who has left for good
asks for nothing any more (401).

Two things hold besides the tables:

- **A key of scope `call`** calls, looks, and manages nothing: of the rows below it may those marked *any key*. A personal
  key of scope `manage` may what its person may, but for rows marked *signed in*: passwords, sessions and personal keys are
  out of every key's reach.
- **A superuser** is nobody special in a project or to a credential: the role decides. What superusers may stands in the
  third table; the one thing that touches a credential is to give one whose owner has left for good to somebody else.
";

const IN_A_PROJECT: &str = "\
## In a project

| may | viewer | editor | admin | owner | not a member | service key | service account | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

const ON_A_CREDENTIAL: &str = "\
## On a credential

*Owner* is the person, or — for a credential that a project owns — each of its owners and admins. The others are members of
a project that uses the credential; who is neither gets 404. Values are never shown to anybody, only the fields that are not
secret, and those to the owner alone.

| may | credential's owner | viewer | editor | admin | project's owner | nobody to it | superuser | service key | service account | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

const REST: &str = "\
## On this server

| may | person | superuser | service key | service account | |
| --- | --- | --- | --- | --- | --- |
";

const FOOT: &str = "\
## What the tables do not say

- Only owners make and unmake owners; the last active owner of a project stays. Admins make no owners.
- Sharing a credential takes the role editor in the project; withdrawing one's own share takes none.
- Whoever owns credentials that a project uses is not removed from it (409 with the list) unless their shares are withdrawn
  with them. A share works only while its owner is an active member.
- A credential that a project owns is used in that project only, and its owner is fixed: it is not transferred. Every owner
  and admin may edit it.
- In a browser, a transfer, another owner, a purge and key making want a sign-in of the last fifteen minutes
  (docs/people.md). For a day after a password reset owner rights rest.
- A project can want a second factor: for a member who came in without one it is closed, whatever the role.
- A service account acts in its own project alone: on viewers and editors, on credentials that the project owns, and on
  no key but itself. It purges nothing and raises nobody to admin.
- Of lists without a project it sees its own project, and what that project owns or may use.
- A service key can be limited further (credentials, operations, methods, paths, networks, an end), never widened.
";

fn mark(yes: bool) -> &'static str {
    if yes { "✓" } else { "·" }
}

/// Which keys reach it.
fn note(ground: Ground) -> &'static str {
    match ground {
        Ground::Person | Ground::Look | Ground::Call(_) | Ground::Seen => "any key",
        Ground::LookOrSuperuser => "any key; superusers too",
        Ground::Session => "signed in",
        Ground::Orphan => "its owner has left for good",
        Ground::Recipient => "the person it was offered to",
        Ground::Manager | Ground::Superuser | Ground::Member(_) | Ground::Owner(_) | Ground::Used(_) => "",
        Ground::Anybody => "takes no right",
    }
}

/// The marks of all columns but the last, which is the service account's.
fn row(out: &mut String, operation: Operation, marks: &[bool]) {
    let marks: Vec<&str> = marks.iter().map(|yes| mark(*yes)).collect();
    marked(out, operation, &marks);
}

fn marked(out: &mut String, operation: Operation, marks: &[&str]) {
    let ground = operation.ground();
    let account = mark(operation.for_accounts() || ground == Ground::Anybody);
    let _ = writeln!(out, "| {} | {} | {account} | {} |", operation.what(), marks.join(" | "), note(ground));
}

/// In the order of the columns.
const ROLES: [Role; 4] = [Role::Viewer, Role::Editor, Role::Admin, Role::Owner];

/// The whole page.
pub fn text() -> String {
    let (mut project, mut credential, mut rest) =
        (IN_A_PROJECT.to_owned(), ON_A_CREDENTIAL.to_owned(), REST.to_owned());
    for operation in Operation::ALL.iter().copied() {
        let roles = |least: Role| ROLES.map(|role| role >= least);
        let ground = operation.ground();
        match ground {
            Ground::Look | Ground::LookOrSuperuser => {
                row(&mut project, operation, &[true, true, true, true, false, false]);
            }
            Ground::Member(least) => {
                let [a, b, c, d] = roles(least);
                row(&mut project, operation, &[a, b, c, d, false, false]);
            }
            Ground::Call(least) => {
                let [a, b, c, d] = roles(least);
                row(&mut project, operation, &[a, b, c, d, false, true]);
            }
            Ground::Owner(_) => {
                row(&mut credential, operation, &[true, false, false, false, false, false, false, false]);
            }
            Ground::Seen => {
                row(&mut credential, operation, &[true, true, true, true, true, false, false, false]);
            }
            Ground::Used(least) => {
                let [a, b, c, d] = roles(least);
                row(&mut credential, operation, &[true, a, b, c, d, false, false, false]);
            }
            Ground::Orphan => {
                row(&mut credential, operation, &[false, false, false, false, false, false, true, false]);
            }
            Ground::Recipient => {
                // Being the recipient is what counts, whatever else one is. Nobody offers something to themselves.
                marked(&mut credential, operation, &["·", "○", "○", "○", "○", "○", "○", "·"]);
            }
            Ground::Superuser => row(&mut rest, operation, &[false, true, false]),
            Ground::Person | Ground::Manager | Ground::Session => {
                row(&mut rest, operation, &[true, true, false]);
            }
            Ground::Anybody => row(&mut rest, operation, &[true, true, true]),
        }
    }
    format!("{HEAD}\n{project}\n{credential}\n{rest}\n{FOOT}")
}
