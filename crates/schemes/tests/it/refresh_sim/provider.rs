//! A token endpoint that rotates refresh tokens and punishes reuse.

use latchstring_schemes::refresh::Reuse;

/// What the database holds and the provider hands out: the refresh token's generation, and which
/// access token came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub generation: u64,
    pub serial: u64,
}

pub struct Provider {
    reuse: Reuse,
    ttl: i64,
    /// The refresh token that is good now.
    pub live: u64,
    /// A spent one came again without grace: everything of this grant is over.
    pub family_dead: bool,
    /// When each access token was made.
    born: Vec<i64>,
    /// Rotations whose answer has not been stored yet, by new generation.
    pub unsaved: Vec<u64>,
}

impl Provider {
    pub fn new(reuse: Reuse, ttl: i64) -> Self {
        Self { reuse, ttl, live: 1, family_dead: false, born: vec![0], unsaved: Vec::new() }
    }

    pub fn first(&self) -> Token {
        Token { generation: 1, serial: 0 }
    }

    /// A refresh request arrives; `None` is `invalid_grant`. What it commits happens here and now,
    /// whatever becomes of the answer.
    pub fn refresh(&mut self, generation: u64, now: i64) -> Option<Token> {
        if self.family_dead {
            return None;
        }
        match self.reuse {
            Reuse::NonRotating | Reuse::Repeatable => {}
            Reuse::SingleUse | Reuse::Grace if generation == self.live => {
                self.live += 1;
                self.unsaved.push(self.live);
            }
            // The successor that was handed out already, once more.
            Reuse::Grace if generation + 1 == self.live => {}
            Reuse::SingleUse | Reuse::Grace => {
                self.family_dead = true;
                return None;
            }
        }
        self.born.push(now);
        Some(Token { generation: self.live, serial: self.born.len() as u64 - 1 })
    }

    pub fn accepts(&self, token: Token, now: i64) -> bool {
        !self.family_dead && self.born.get(token.serial as usize).is_some_and(|born| now < born + self.ttl)
    }
}
