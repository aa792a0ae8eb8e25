//! Real programs on generated input. Those not installed are named on standard error and left out.

use crate::allocators::package;
use crate::cases::{Case, Way};
use crate::compile;
use crate::inputs;
use crate::options::Options;
use std::path::PathBuf;

const GROUP: &str = "real";

/// Debian's packages that they come from.
const PACKAGES: [&str; 10] =
    ["python3", "lua5.4", "perl", "g++", "redis-server", "sqlite3", "jq", "ghostscript", "z3", "git"];

/// The packages with their versions.
pub(crate) fn versions() -> String {
    PACKAGES.map(|name| format!("{name} {}", package(name))).join(", ")
}

/// The real programs.
///
/// # Errors
///
/// Their input cannot be written.
pub(crate) fn cases(options: &Options) -> Result<Vec<Case>, String> {
    let mut all = Vec::new();
    for make in [python, lua, perl, compiler, redis, sqlite, jq, ghostscript, z3, git] {
        let case = make(options.quick)?;
        if options.wants(GROUP, &case.name) && case.installed() {
            all.push(case);
        }
    }
    Ok(all)
}

/// Where the distribution has `tool`: the first on the `PATH` may be a wrapper that starts another program.
fn tool(name: &str) -> PathBuf {
    let own = PathBuf::from("/usr/bin").join(name);
    if own.is_file() { own } else { tests::require::find(name).unwrap_or_else(|| name.into()) }
}

fn script(name: &str) -> String {
    compile::source("real").join(name).to_string_lossy().into_owned()
}

/// Every object from `malloc`: Python otherwise cuts small ones from pieces of its own.
fn python(quick: bool) -> Result<Case, String> {
    let turns = if quick { "1" } else { "5" };
    let mut case = Case::new("python", GROUP, tool("python3"), &[&script("objects.py"), turns]);
    case.environment.extend([("PYTHONMALLOC", "malloc"), ("PYTHONHASHSEED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    Ok(case)
}

fn lua(quick: bool) -> Result<Case, String> {
    let turns = if quick { "1" } else { "8" };
    Ok(Case::new("lua", GROUP, tool("lua5.4"), &[&script("tables.lua"), turns]))
}

fn perl(quick: bool) -> Result<Case, String> {
    let turns = if quick { "1" } else { "5" };
    let mut case = Case::new("perl", GROUP, tool("perl"), &[&script("words.pl"), turns]);
    case.environment.push(("PERL_HASH_SEED", "0"));
    Ok(case)
}

fn compiler(quick: bool) -> Result<Case, String> {
    let source = inputs::cpp(if quick { 1 } else { 6 })?;
    Ok(Case::new("g++", GROUP, tool("g++"), &["-O2", "-S", "-o", "-", &source]))
}

fn redis(quick: bool) -> Result<Case, String> {
    let server = ["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"];
    let mut case = Case::new("redis", GROUP, tool("redis-server"), &server);
    case.way = Way::Redis { requests: if quick { 500 } else { 15_000 } };
    Ok(case)
}

fn sqlite(quick: bool) -> Result<Case, String> {
    let rows = format!("CREATE TABLE size AS SELECT {} AS n", if quick { 500 } else { 30_000 });
    let read = format!(".read '{}'", script("tables.sql"));
    Ok(Case::new("sqlite", GROUP, tool("sqlite3"), &["-init", "/dev/null", "-batch", ":memory:", &rows, &read]))
}

fn jq(quick: bool) -> Result<Case, String> {
    let input = inputs::json(if quick { 200 } else { 12_000 })?;
    Ok(Case::new("jq", GROUP, tool("jq"), &["-c", "-f", &script("regroup.jq"), &input]))
}

fn ghostscript(quick: bool) -> Result<Case, String> {
    let pages = format!("-dPAGES={}", if quick { 1 } else { 6 });
    let device = ["-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=png16m", "-r100", "-o", "/dev/null"];
    Ok(Case::new("gs", GROUP, tool("gs"), &[&device[..], &[&pages, &script("shapes.ps")]].concat()))
}

fn z3(quick: bool) -> Result<Case, String> {
    let problem = inputs::smt(if quick { 6 } else { 32 })?;
    Ok(Case::new("z3", GROUP, tool("z3"), &["-smt2", "smt.random_seed=1", "sat.random_seed=1", &problem]))
}

fn git(quick: bool) -> Result<Case, String> {
    let repository = inputs::repository(&tool("git"), if quick { 20 } else { 400 })?;
    let mut case = Case::new("git", GROUP, tool("git"), &["-C", &repository, "log", "--stat", "-p", "--all"]);
    case.environment.extend([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_PAGER", "cat")]);
    Ok(case)
}
