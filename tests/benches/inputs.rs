//! Input for the real programs, generated anew for every run of the benchmarks; the same every time.

use crate::compile;
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes `text` to a file and returns its path.
fn written(name: &str, text: &str) -> Result<String, String> {
    let file = compile::directory("inputs")?.join(name);
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file.to_string_lossy().into_owned())
}

/// A C++ program with so many classes, each with its own templates and containers.
pub(crate) fn cpp(classes: u32) -> Result<String, String> {
    let mut text = "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n".to_owned();
    for i in 0..classes {
        let _ = write!(
            text,
            "struct Key{i} {{ int a, b; bool operator<(const Key{i} &o) const {{ return a + {i} * b < o.a; }} }};
template <class T, int N> struct Shelf{i} {{
    std::vector<T> items; T extra[N + 1] = {{}};
    T sum() const {{ T all{{}}; for (const T &item : items) all = all + item; return all; }}
    void add(T item) {{ items.push_back(item); std::sort(items.begin(), items.end()); extra[N] = item; }}
}};
struct Thing{i} {{
    std::map<Key{i}, std::string> names; Shelf{i}<int, {i}> numbers; Shelf{i}<std::string, {i}> words;
    int work(int n) {{
        int total = n * {i};
        for (int k = 0; k < n; k++) {{
            names[Key{i}{{k, total % {m}}}] += std::to_string(k) + \"x\"; numbers.add(k ^ total);
            switch (k % 7) {{ case 0: total += numbers.sum(); break; case 1: total ^= k << {s}; break;
                case 2: words.add(names.begin()->second); break; case 3: if (total > {m}) total /= 3; break;
                default: total += (int)words.sum().size(); }}
        }}
        return total + (int)names.size();
    }}
}};
int use{i}(int n) {{ Thing{i} thing; return thing.work(n) + thing.work(n / 2); }}
",
            m = i * 37 % 91 + 3,
            s = i % 5
        );
    }
    written(&format!("generated-{classes}.cc"), &text)
}

/// A JSON array of so many objects.
pub(crate) fn json(objects: u32) -> Result<String, String> {
    let mut text = "[".to_owned();
    for i in 0..objects {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}\n{{\"name\":\"name {}\",\"town\":\"town {}\",\"age\":{},\"tags\":[\"t{}\",\"t{}\",\"t{}\"],\"score\":{}.5}}",
            i * 7919 % 100_003,
            i % 61,
            i % 90,
            i % 3,
            i % 7,
            i % 31,
            i % 1000,
        );
    }
    text.push_str("\n]\n");
    written(&format!("objects-{objects}.json"), &text)
}

/// A scheduling problem in SMT-LIB: so many jobs on a few machines, none of which does two at a time.
pub(crate) fn smt(jobs: u32) -> Result<String, String> {
    const MACHINES: u32 = 4;
    let length = |job: u32| job * 7 % 11 + 2;
    let total: u32 = (0..jobs).map(length).sum();
    // Room enough, but not much.
    let end = total / MACHINES + total / MACHINES / 4 + 4;
    let mut text = "(set-logic QF_LIA)\n".to_owned();
    for job in 0..jobs {
        let _ = writeln!(text, "(declare-const t{job} Int)(declare-const m{job} Int)");
        let _ = writeln!(text, "(assert (and (<= 0 t{job}) (<= (+ t{job} {}) {end})))", length(job));
        let _ = writeln!(text, "(assert (and (<= 0 m{job}) (< m{job} {MACHINES})))");
        for other in 0..job {
            let _ = writeln!(
                text,
                "(assert (or (not (= m{job} m{other})) (<= (+ t{job} {}) t{other}) (<= (+ t{other} {}) t{job})))",
                length(job),
                length(other)
            );
        }
        if job >= 5 && job % 5 == 0 {
            let _ = writeln!(text, "(assert (<= (+ t{} {}) t{job}))", job - 5, length(job - 5));
        }
    }
    text.push_str("(check-sat)\n");
    written(&format!("jobs-{jobs}.smt2"), &text)
}

/// A Git repository with so many commits to files that grow and change.
pub(crate) fn repository(git: &Path, commits: u32) -> Result<String, String> {
    let folder = compile::directory("inputs")?.join(format!("repository-{commits}"));
    let path = folder.to_string_lossy().into_owned();
    if !git.is_file() || folder.join("complete").is_file() {
        return Ok(path);
    }
    let mut stream = String::new();
    let mut files = vec![vec![0u32; 300]; 12];
    for commit in 1..=commits {
        let message = format!("Change {commit}\n");
        let _ = write!(
            stream,
            "commit refs/heads/main\ncommitter A <a@example.org> {commit} +0000\ndata {}\n{message}",
            message.len()
        );
        for change in 0..3 {
            let file = ((commit * 5 + change * 3) % 12) as usize;
            for line in 0..20 {
                let at = (commit * 31 + line * line * 7 + change) as usize % files[file].len();
                files[file][at] = commit;
            }
            files[file].push(commit);
            let text: String =
                files[file].iter().enumerate().map(|(line, when)| format!("line {line} of change {when}\n")).collect();
            let _ = write!(stream, "M 644 inline file{file}.txt\ndata {}\n{text}\n", text.len());
        }
    }
    compile::succeeds(Command::new(git).args(["init", "--quiet", "--bare"]).arg(&folder))?;
    let mut import = Command::new(git)
        .arg("-C")
        .arg(&folder)
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("git: {error}"))?;
    let fed = import.stdin.take().map(|mut input| input.write_all(stream.as_bytes()));
    match (fed, import.wait()) {
        (Some(Ok(())), Ok(status)) if status.success() => {}
        _ => return Err("git fast-import failed".to_owned()),
    }
    std::fs::write(folder.join("complete"), "").map_err(|error| format!("{path}: {error}"))?;
    Ok(path)
}
