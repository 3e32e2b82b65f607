//! What a stolen cookie, or a mailbox that somebody else reads, must not be enough for.
//!
//! * **Recent**: in a session some deeds want that the person has shown within the last minutes who they are
//!   (password and second factor, or the provider): [`Broker::recent`]. An instance can demand it of everybody,
//!   which shuts keys out.
//! * **Frozen**: for a day after a password reset, owner rights rest: [`Broker::unfrozen`]. The person is told of
//!   the reset by mail and has that day to notice one that was not theirs. Nobody lifts it.
//!
//! | deed | recent | rests while frozen |
//! | --- | --- | --- |
//! | make a key (personal, service, account) | yes | yes |
//! | purge a credential, delete a project | yes | yes |
//! | transfer, change an owner | yes | yes |
//! | see fields, edit, share, approve, delete what one owns | no | yes |
//! | make or change a member | yes | yes |
//! | make or invite an account, activate one, make and unmake superusers | yes | yes |
//! | second factor: set up, new recovery codes, remove | yes | no |
//! | password, linked identities | yes | no |
//! | remove somebody's second factor, instance settings | yes | no |
//! | disable what one owns, deactivate an account; calls | no | no |

use latchstring_model::problem::Refused;
use latchstring_model::{Code, Problem, Timestamp};

use crate::Broker;
use crate::actor::{Actor, Via, Who};
use crate::people::instance::RecentSignInFor;

const MINUTE: i64 = 60_000;
/// How long owner rights rest after a password reset, in milliseconds.
pub const FROZEN: i64 = 24 * 60 * MINUTE;

macro_rules! deeds {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $what:literal;)*) => {
        /// What wants a recent sign-in. The text goes on after "… wants a recent sign-in: ".
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Deed { $($(#[$doc])* $name,)* }

        impl Deed {
            pub const ALL: &'static [Deed] = &[$(Deed::$name,)*];

            /// As `deed` in the refusal.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

deeds! {
    MakeKey = "make_key", "Making a key";
    Purge = "purge", "Deleting for good";
    Transfer = "transfer", "Handing a credential on";
    /// A superuser gives an orphaned credential to somebody else.
    ChangeOwner = "change_owner", "Giving a credential to another owner";
    SecondFactor = "second_factor", "Changing a second factor";
    Password = "password", "Changing a password";
    Identity = "identity", "Changing how one signs in";
    Members = "members", "Changing who is in a project";
    /// Who lets somebody in gives them what a session of one's own may not have.
    Accounts = "accounts", "Changing who has an account, and what it may";
    /// Of somebody else.
    RemoveSecondFactor = "remove_second_factor", "Removing somebody's second factor";
    Instance = "instance", "Changing this server's settings";
}

fn late(deed: Deed, minutes: i64) -> Box<Problem> {
    Problem::new(
        Code::RecentSignInRequired,
        format!("{} wants a sign-in of the last {minutes} minutes; yours is older.", deed.what()),
    )
    .hint("Confirm who you are (POST /api/v1/session/confirm, or the page /confirm) and repeat it.")
    .with("deed", deed.as_str().into())
    .into()
}

fn no_key(deed: Deed) -> Box<Problem> {
    Problem::new(
        Code::RecentSignInRequired,
        format!(
            "On this server {} wants a person who has just signed in; no key reaches it.",
            lower(deed.what())
        ),
    )
    .hint("Sign in in a browser and do it there; the instance setting `recent_sign_in_for` decides.")
    .with("deed", deed.as_str().into())
    .into()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Whether owner rights rest, as far as a time says.
fn check_frozen(until: Option<Timestamp>, now: Timestamp) -> Refused<()> {
    match until.filter(|until| now < *until) {
        None => Ok(()),
        Some(until) => Err(Problem::new(
            Code::OwnerFrozen,
            format!(
                "Your password was reset, so owner rights rest until {}: whoever reads your mail gains nothing by it.",
                until.to_rfc3339()
            ),
        )
        .hint("Wait until then. Calls go on, and you can disable what you own. If it was not you who reset the password, tell a superuser now; nobody can lift this earlier.")
        .with("frozen_until", until.to_rfc3339().into())
        .into()),
    }
}

impl Broker {
    /// Call it at the beginning of a deed that wants a recent sign-in, beside the rights that it needs.
    pub(crate) async fn recent(&self, actor: &Actor, deed: Deed) -> Refused<()> {
        if actor.who == Who::Operator {
            return Ok(());
        }
        let settings = self.instance().await?;
        match &actor.who {
            Who::Person { via: Via::Session { confirmed_at, .. }, .. } => {
                let minutes = settings.recent_sign_in_minutes;
                if self.now().millis() - confirmed_at.millis() <= minutes * MINUTE {
                    return Ok(());
                }
                Err(late(deed, minutes))
            }
            _ if settings.recent_sign_in_for == RecentSignInFor::Everything => Err(no_key(deed)),
            // Whether a key may do it at all was asked before.
            _ => Ok(()),
        }
    }

    /// Call it where an owner right is used.
    pub(crate) fn unfrozen(&self, actor: &Actor) -> Refused<()> {
        match &actor.who {
            Who::Person { person, .. } => check_frozen(person.frozen_until, self.now()),
            _ => Ok(()),
        }
    }

    /// Whether fields of what this person owns are shown: a look answers less instead of being refused.
    pub(crate) fn is_frozen(&self, actor: &Actor) -> bool {
        self.unfrozen(actor).is_err()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn owner_rights_come_back_at_that_moment() {
        let until = Timestamp(1_000);
        assert!(check_frozen(None, Timestamp(0)).is_ok());
        let problem = check_frozen(Some(until), Timestamp(999)).unwrap_err();
        assert_eq!(problem.code, Code::OwnerFrozen);
        assert_eq!(problem.extra["frozen_until"], until.to_rfc3339());
        assert!(check_frozen(Some(until), until).is_ok());
    }

    #[test]
    fn every_deed_says_what_it_is() {
        let mut words = std::collections::HashSet::new();
        for deed in Deed::ALL.iter().copied() {
            assert!(words.insert(deed.as_str()));
            let (late, no_key) = (late(deed, 15), no_key(deed));
            assert!(late.detail.starts_with(deed.what()) && late.hint.is_some());
            assert!(no_key.detail.contains("no key reaches it"), "{}", no_key.detail);
        }
    }
}
