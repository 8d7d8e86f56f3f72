//! `recountd add`: gives the daemon a job at run time.

use std::process::ExitCode;

use clap::ArgGroup;
use serde_json::{Map, Value, json};

use super::api::{self, Api, JobView};
use super::define::{self, DefinitionError, Timing};
use super::{CliError, reschedule};

pub(super) const EXAMPLES: &str = "\
Examples:
  recountd add user-articles --cron '0 3 * * *' --query @articles.sql --target zset=count:user:arts
  recountd add user-likes --interval 10m --query 'SELECT user_id, COUNT(*) FROM likes GROUP BY user_id' \\
      --target 'hash=user:{id}' --set target.field=likes --set settle=2s --set guard.max_changed=80%
  recountd show user-articles --json | jq .definition | recountd add again --in 30m --from-file -

A job that is added so is kept by the daemon over restarts, and gone after `recountd remove`.";

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("trigger").args(["cron", "interval", "date", "in"])))]
pub(super) struct Args {
    /// The job's name
    name: String,
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    timing: Timing,
    /// The query, or @FILE, or - for standard input
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    query: Option<String>,
    /// Where the counters are, such as zset=count:user:arts
    #[arg(long, value_name = "KIND=KEY", value_parser = define::parse_pair)]
    target: Option<(String, String)>,
    /// Any other key of a [jobs.NAME] table, with dots for tables in it, such as guard.max_changed=50%
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = define::parse_pair)]
    fields: Vec<(String, String)>,
    /// All keys of a [jobs.NAME] table as one JSON object, - for standard input; options go before it
    #[arg(long, value_name = "FILE")]
    from_file: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let definition = definition(args)?;
    let client = args.api.client()?;
    let job = client.post("/v1/jobs", Some(&definition))?;
    let job: JobView = api::read(&client, job, "job")?;
    reschedule::say("added", &job)
}

fn definition(args: &Args) -> Result<Value, DefinitionError> {
    let reads_twice = args.query.as_deref() == Some("-") && args.from_file.as_deref() == Some("-");
    if reads_twice {
        return Err(DefinitionError::TwoInputs);
    }
    let mut fields = match &args.from_file {
        Some(path) => define::object_of(path)?,
        None => Map::new(),
    };
    fields.insert("name".to_owned(), json!(args.name));
    args.timing.put(&mut fields)?;
    if let Some(query) = &args.query {
        fields.insert("query".to_owned(), json!(define::text_of(query, "the query")?));
    }
    if let Some((kind, key)) = &args.target {
        fields.remove("targets");
        fields.insert("target".to_owned(), json!({ kind.as_str(): key }));
    }
    for (key, value) in &args.fields {
        define::set(&mut fields, key, value)?;
    }
    Ok(Value::Object(fields))
}
