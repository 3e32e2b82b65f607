//! What is wrong with the lines of checkpoints themselves, and is found before the trail is held against them.

use latchstring_model::id::AuditKeyId;

use super::attacks::Kept;
use super::world::{World, world};
use super::*;
use crate::audit::checkpoint::Reading;
use crate::audit::checkpoint::line::{self, Checkpoint, NotACheckpoint};
use crate::audit::checkpoint::read::LineTrouble;
use crate::audit::checkpoint::write::Checkpointer;
use crate::audit::signing::{FirstKey, PublicKeys, Signer, sign_heads};

struct Lines {
    world: World,
    keys: PublicKeys,
    signer: Signer,
    good: Vec<String>,
}

impl Lines {
    /// Five lines, each with a new head.
    async fn five(home: &Home) -> Self {
        let world = world(home).await;
        let parts = &world.broker.parts;
        sign_heads(&parts.store, &parts.vault, NOW, entropy(), FirstKey::Make).await.unwrap();
        let place = Kept::default();
        let mut checkpointer = Checkpointer::new(Box::new(place.clone()));
        for _ in 0..5 {
            let mut tx = parts.store.begin_upkeep().await.unwrap();
            events::append(&mut tx, &parts.server, NOW, &[(&Actor::operator(), Event::new("member.set"))])
                .await
                .unwrap();
            tx.commit().await.unwrap();
            assert_eq!(checkpointer.last(&world.broker).await.unwrap(), 1);
        }
        let keys = PublicKeys::of(&parts.store, &parts.vault).await.unwrap();
        let signer = Signer::current(&parts.store, &parts.vault).await.unwrap();
        let good = place.0.lock().unwrap().lines().map(str::to_owned).collect();
        Self { world, keys, signer, good }
    }

    /// What is wrong with these files, and in which line.
    fn read(&self, files: &[&[String]]) -> Result<u64, (u64, LineTrouble)> {
        let mut reading = Reading::new(&self.keys);
        for (number, file) in files.iter().enumerate() {
            reading.file(&format!("file {number}"));
            for line in *file {
                reading.line(line).map_err(|error| (error.line, error.what))?;
            }
        }
        Ok(reading.finish().lines)
    }

    /// A line as whoever has the key could write it instead.
    fn anew(&self, at: usize, change: impl FnOnce(&mut Checkpoint)) -> String {
        let mut checkpoint = line::parse(&self.good[at]).unwrap();
        change(&mut checkpoint);
        checkpoint.signed(&self.world.broker.parts.vault, &self.signer).unwrap()
    }

    fn with(&self, at: usize, line: String) -> Vec<String> {
        let mut lines = self.good.clone();
        lines[at] = line;
        lines
    }
}

#[tokio::test]
async fn a_line_that_no_server_of_this_installation_wrote_is_found() {
    let home = Home::sqlite();
    let lines = Lines::five(&home).await;
    assert_eq!(lines.read(&[&lines.good]), Ok(5));
    let edited = lines.good[4].replace("\"number\":5,\"hash\"", "\"number\":6,\"hash\"");
    assert_ne!(edited, lines.good[4]);
    assert_eq!(
        lines.read(&[&lines.with(4, edited)]),
        Err((5, LineTrouble::NotACheckpoint(NotACheckpoint::Forged)))
    );
    let other = AuditKeyId::new(NOW, entropy());
    let foreign = lines.anew(4, |checkpoint| checkpoint.key = other.clone());
    assert_eq!(
        lines.read(&[&lines.with(4, foreign)]),
        Err((5, LineTrouble::NotACheckpoint(NotACheckpoint::UnknownKey(other))))
    );
    let newer = lines.good[4].replace("{\"checkpoint\":1,", "{\"checkpoint\":2,");
    assert_eq!(
        lines.read(&[&lines.with(4, newer)]),
        Err((5, LineTrouble::NotACheckpoint(NotACheckpoint::NewerFormat(2))))
    );
}

#[tokio::test]
async fn lines_follow_each_other_one_by_one() {
    let home = Home::sqlite();
    let lines = Lines::five(&home).await;
    let good = &lines.good;
    let mut less = good.clone();
    less.remove(2);
    assert_eq!(lines.read(&[&less]), Err((3, LineTrouble::Missing)));
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    assert_eq!(lines.read(&[&swapped]), Err((2, LineTrouble::Missing)));
    // What cannot be read is a line that a crash cut off only if nothing is missing around it.
    let torn = good[2][..good[2].len() / 2].to_owned();
    assert_eq!(
        lines.read(&[&lines.with(2, torn.clone())]),
        Err((3, LineTrouble::NotACheckpoint(NotACheckpoint::Unreadable)))
    );
    let mut between = good.clone();
    between.insert(2, torn);
    assert_eq!(lines.read(&[&between]), Ok(5));
    // Collected twice is no harm; a second line behind the same one is.
    let mut twice = good.clone();
    twice.insert(3, good[2].clone());
    assert_eq!(lines.read(&[&twice]), Ok(5));
    let mut forked = good.clone();
    forked.push(lines.anew(3, |checkpoint| checkpoint.seq += 1));
    assert_eq!(lines.read(&[&forked]), Err((6, LineTrouble::Forked)));
    // The older part may come later, or not at all: then that is told.
    assert_eq!(lines.read(&[&good[2..], &good[..2]]), Ok(5));
    assert_eq!(lines.read(&[&good[2..]]), Ok(3));
    // Also with the key, lines are numbered as they were written.
    let jumped = lines.anew(4, |checkpoint| checkpoint.number = 7);
    assert_eq!(lines.read(&[&lines.with(4, jumped)]), Err((5, LineTrouble::Number)));
    let late = lines.anew(0, |checkpoint| checkpoint.number = 2);
    assert_eq!(lines.read(&[&[late]]), Err((1, LineTrouble::Number)));
    let back = lines.anew(4, |checkpoint| checkpoint.heads[0].number = 2);
    assert!(matches!(
        lines.read(&[&lines.with(4, back)]),
        Err((5, LineTrouble::WentBack { before: 4, now: 2, .. }))
    ));
}
