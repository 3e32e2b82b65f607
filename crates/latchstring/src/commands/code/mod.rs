//! `latchstring export` and `apply`: a project as a file. Both go through the API with a key and may what it may.

mod carry;
mod emit;
mod file;
mod held;
mod plan;
mod secrets;
mod state;
mod thing;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use self::carry::{Carrier, Failed};
use self::plan::Plan;
use self::secrets::Secrets;
use self::state::{Me, Present, text};
use self::thing::{In, Kind, Wanted, Wrong, shown};
use super::client::{Api, Server, usage};
use super::{counted, on_runtime, print, say};
use crate::Ending;

const WHO_MAKES: &str = "a service account of the project, or a personal key with the scope manage; docs/as-code.md says how to get one";

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring export --project acme > acme.yaml\n\nNo secret is in the file: secrets and secret fields are named in it. docs/as-code.md has the whole form."
)]
pub struct Export {
    /// The project's slug or id
    #[arg(long, env = "LATCHSTRING_PROJECT")]
    project: String,
    /// Write it here instead of to standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  export LATCHSTRING_URL=http://127.0.0.1:5282 LATCHSTRING_API_KEY=lst_…\n  latchstring apply acme.yaml --plan      what would be done; exit 1 when there is something\n  latchstring apply acme.yaml             the same, then asks\n\nSecrets that are missing are taken from --secrets, from variables such as LATCHSTRING_SECRETS_PRODUCTION_TOKEN, or asked for."
)]
pub struct Apply {
    /// The project file
    file: PathBuf,
    /// Another project than the file says (slug); one that is not there is made
    #[arg(long)]
    project: Option<String>,
    /// Only show what would be done; exit 1 when that is something
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
    /// Print the plan as JSON
    #[arg(long, requires = "plan")]
    json: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Also remove what `apply` has made once and the file does not name any more
    #[arg(long)]
    prune: bool,
    /// Store credentials without asking their API first
    #[arg(long)]
    unverified: bool,
    /// A YAML file with secrets: `secrets: {production: {TOKEN: …}}`, `credentials: {people: {live: {key: …}}}`
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// A new file for secrets that are made now and shown once (webhooks')
    #[arg(long, value_name = "FILE")]
    new_secrets: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

pub fn run_export(export: Export) -> Ending {
    on_runtime(Box::pin(write_out(export)))
}

pub fn run_apply(apply: Apply) -> Ending {
    on_runtime(Box::pin(bring_in(apply)))
}

const HEAD: &str = "# A project of Latchstring. `latchstring apply` makes one like it; secrets are named here and never in here.\n";

async fn write_out(export: Export) -> Result<Ending, Ending> {
    let mut api = Api::new(export.server, WHO_MAKES)?;
    let me = state::me(&mut api).await?;
    let present = Present::load(&mut api, &export.project, &me).await?;
    let present = present.ok_or_else(|| no_such_project(&export.project))?;
    for kind in &present.unseen {
        say(&format!("latchstring: {} are not in it: only admins and owners see them", kind.section()));
    }
    for ((kind, name), thing) in &present.things {
        if *kind == Kind::Credential && !thing.owned {
            say(&format!(
                "latchstring: credential {name}: its fields are not in it, they are for its owner {} to see",
                text(&thing.body["owner"])
            ));
        }
    }
    let whole = format!("{HEAD}{}", emit::document(&present.document()));
    match &export.output {
        None => print(whole.trim_end()),
        Some(file) => std::fs::write(file, whole)
            .map_err(|error| usage(format!("{} cannot be written: {error}", file.display())))?,
    }
    Ok(Ending::Good)
}

fn no_such_project(named: &str) -> Ending {
    usage(format!(
        "there is no project {named}, or this key has nothing to do with it; a service account sees its own project alone"
    ))
}

fn told(file: &str, wrong: &[Wrong], json: bool) -> Ending {
    if json {
        let one = |wrong: &Wrong| {
            json!({
                "file": file, "line": wrong.at.line, "column": wrong.at.column, "message": wrong.message,
            })
        };
        print(&json!({"wrong": wrong.iter().map(one).collect::<Vec<_>>()}).to_string());
        return Ending::No;
    }
    wrong.iter().for_each(|wrong| print(&In(file, wrong).to_string()));
    Ending::No
}

/// What the file says, and what the server has.
async fn seen(apply: &Apply, api: &mut Api, wanted: &Wanted, me: &Me) -> Result<Present, Ending> {
    let own = wanted.things.get(&(Kind::Project, String::new()));
    let said = own.and_then(|own| own.body.get("slug")).map(text);
    let slug = apply.project.clone().or(said).filter(|slug| !slug.is_empty()).ok_or_else(|| {
        usage("which project? The file has no `project: {slug: …}`, and there is no --project")
    })?;
    if let Some(present) = Present::load(api, &slug, me).await? {
        return Ok(present);
    }
    let Me::Person { email } = me else { return Err(no_such_project(&slug)) };
    let connectors = api.list("/connectors").await??;
    let clients = api.list("/oauth-clients").await??;
    let global = clients.iter().filter(|client| client["global"] == true);
    let global = global.map(|client| (text(&client["id"]), text(&client["name"]))).collect();
    Ok(plan::nothing_yet(&slug, email, connectors, global))
}

fn show(plan: &Plan, place: &str, slug: &str, me: &Me) {
    let who = match me {
        Me::Person { email } => email.as_str(),
        Me::Account => "a service account",
    };
    print(&format!("Project {slug} at {place}, as {who}"));
    for step in &plan.steps {
        print(&format!("  {}", step.line()));
    }
    if !plan.people.is_empty() {
        print("For a person to do:");
        plan.people.iter().for_each(|one| print(&format!("  ! {}: {}", one.what, one.why)));
    }
    if !plan.left.is_empty() {
        print("Not in the file, and left:");
        for left in &plan.left {
            let why = match (left.applied, left.held) {
                (true, false) => "  (made by apply: --prune removes it)",
                (true, true) => "  (made by apply, and kept by what others have put into it)",
                (false, _) => "",
            };
            print(&format!("    {} {}{why}", left.kind.word(), shown(&left.name)));
        }
    }
    let count = |sign: char| plan.steps.iter().filter(|step| step.line().starts_with(sign)).count();
    match plan.steps.is_empty() {
        true => print("Nothing to do."),
        false => {
            print(&format!("{} to make, {} to change, {} to remove.", count('+'), count('~'), count('-')))
        }
    }
}

pub(super) fn asked(question: &str) -> Result<bool, Ending> {
    let mut out = std::io::stderr();
    let _ = write!(out, "{question} [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| usage(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Made anew, for its owner alone: what is there already is not written over.
fn private_file(path: &Path) -> Result<std::fs::File, Ending> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| usage(format!("{} cannot be made: {error}", path.display())))
}

async fn bring_in(apply: Apply) -> Result<Ending, Ending> {
    let file = apply.file.display().to_string();
    let source = std::fs::read_to_string(&apply.file)
        .map_err(|error| usage(format!("{file} cannot be read: {error}")))?;
    let folder = apply.file.parent().unwrap_or(Path::new("")).to_owned();
    let wanted = match file::read(&source, &folder) {
        Ok(wanted) => wanted,
        Err(wrong) => return Ok(told(&file, &wrong, apply.json)),
    };
    let mut secrets = match &apply.secrets {
        Some(from) => Secrets::read(from)?,
        None => Secrets::default(),
    };
    let mut api = Api::new(apply.server.clone(), WHO_MAKES)?;
    let place = api.place()?;
    let me = state::me(&mut api).await?;
    let present = seen(&apply, &mut api, &wanted, &me).await?;
    let plan = plan::plan(&wanted, &present, &me, apply.prune);
    if !plan.wrong.is_empty() {
        return Ok(told(&file, &plan.wrong, apply.json));
    }
    match apply.json {
        true => print(&plan.as_json(&present.slug).to_string()),
        false => show(&plan, &place, &present.slug, &me),
    }
    if apply.plan {
        return Ok(if plan.is_empty() { Ending::Good } else { Ending::No });
    }
    if plan.steps.is_empty() {
        return Ok(Ending::Good);
    }
    let sits = std::io::stdin().is_terminal();
    if !apply.yes {
        if !sits {
            return Err(usage(
                "nobody can be asked here, and nothing was changed: repeat it with --yes (or --plan, to look only)",
            ));
        }
        if !asked("Do it?")? {
            say("Nothing was changed.");
            return Ok(Ending::No);
        }
    }
    secrets.complete(&plan.wants(), sits)?;
    let new_secrets = apply.new_secrets.as_deref().map(private_file).transpose()?;
    let mut carrier = Carrier {
        api: &mut api,
        wanted: &wanted,
        present,
        secrets,
        unverified: apply.unverified,
        new_secrets,
        people: Vec::new(),
        unmarked: false,
    };
    let ending = carry_out(&mut carrier, &plan, &file).await;
    for one in &carrier.people {
        print(&format!("  ! {one}"));
    }
    Ok(ending)
}

async fn carry_out(carrier: &mut Carrier<'_>, plan: &Plan, file: &str) -> Ending {
    for (done, step) in plan.steps.iter().enumerate() {
        let failed = match Box::pin(carrier.carry(step)).await {
            Ok(()) => {
                print(&format!("done  {}", step.line()));
                continue;
            }
            Err(failed) => failed,
        };
        let why = match failed {
            Failed::Refused(refusal) => In(file, &carrier.told(step, &refusal)).to_string(),
            Failed::Broken(Ending::Stopped(why)) => why,
            Failed::Broken(_) => "it broke off".to_owned(),
        };
        print(&format!("not   {}", step.line()));
        say(&format!("latchstring: {why}"));
        let left = plan.steps.len() - done - 1;
        say(&format!(
            "latchstring: {done} of {} done and kept; {left} more behind this one. Put it right and apply the same file again: it goes on from here.",
            counted(plan.steps.len(), "step")
        ));
        return Ending::No;
    }
    print(&format!("Done: {}.", counted(plan.steps.len(), "step")));
    Ending::Good
}
