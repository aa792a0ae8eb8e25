//! Real segments with damage done to them, through the whole monitor: source, model, every form of output, every view.
//!
//! `STATSMON_FUZZ_SECONDS` says how long, if a long run is wanted.

use super::super::attached::Attached;
use super::super::residency::thread_cpu_time;
use super::*;
use crate::model::Comparison;
use crate::model::compare::{Side, compare};
use crate::model::time::NANOS;
use crate::view::tui::tests::everywhere;
use crate::view::{comparison, csv, json, openmetrics, report, text};
use ::tests::Run;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shm_layout::layout::*;
use std::io;
use std::process::Command;
use std::sync::OnceLock;

/// Segments as real programs made them, each with a history as if it had run for hours.
fn images() -> &'static [Vec<u8>] {
    static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let shared = |file| ::tests::artefacts::compiled(file, &["-shared", "-fPIC"]).into_os_string();
        let foreign = vec!["graver".into(), shared("hazards/deep.c"), shared("callers.c")];
        vec![
            taken("foreign.c", &foreign, 2),
            taken("ballast.c", &[], 1),
            taken("manythreads.c", &["20".into()], 2),
            taken("churn.c", &["200".into()], 2),
        ]
    })
}

/// The segment of a program that has come to its pause number `pauses`.
fn taken(file: &str, arguments: &[std::ffi::OsString], pauses: u32) -> Vec<u8> {
    let mut command = Command::new(::tests::program(file));
    let mut running = command.args(arguments).env("STATSALLOC_MISUSE", "double=count").preload().begin();
    running.line();
    for _ in 1..pauses {
        running.go();
        running.line();
    }
    let mut bytes = std::fs::read(format!("{DIRECTORY}statsalloc.{}", running.pid())).unwrap();
    bytes.truncate(shm_layout::reader::Reader::used_bytes(&bytes).unwrap());
    let mut image = Fake { bytes };
    for clock in [offset_of!(Header, created_realtime_ns), offset_of!(Header, created_monotonic_ns)] {
        let made = image.bytes[clock..].first_chunk().map_or(0, |&bytes| u64::from_ne_bytes(bytes));
        image.word(clock, made.saturating_sub(7_320 * NANOS));
    }
    for number in 0..120 {
        image.second(7200 + number, 1 << 20, 1000 * number);
        image.minute(number, number as usize % 90, 4096 * number, 100);
    }
    image.bytes
}

/// Bytes written over a segment.
type Edit = (usize, Vec<u8>);

/// Where it is most likely to matter: header, counters, class table and foreign callers, rings, rows.
fn edit() -> impl Strategy<Value = Edit> {
    let place = prop_oneof![
        4 => offset_of!(Header, pid)..size_of::<Header>(),
        4 => GLOBALS_OFFSET..GLOBALS_OFFSET + size_of::<Globals>(),
        4 => CLASSES_OFFSET..TOTALS_OFFSET,
        4 => TOTALS_OFFSET..ROWS_OFFSET,
        4 => ROWS_OFFSET..ROWS_OFFSET + 4 * size_of::<Row>(),
        // The first words of rows say whose they are.
        2 => (0..24_usize, 0..256_usize).prop_map(|(row, byte)| ROWS_OFFSET + row * size_of::<Row>() + byte),
        2 => 512..ROWS_OFFSET + 24 * size_of::<Row>(),
    ];
    // What comes before says what the layout is: with any of it changed, nothing else is read.
    let place = prop_oneof![80 => place, 1 => 0..offset_of!(Header, pid)];
    let word = prop_oneof![
        prop::sample::select(vec![0, 1, u64::MAX, 1 << 63, u64::from(u32::MAX), 1 << 48]),
        0..5000_u64,
        any::<u64>(),
    ];
    let bytes = prop_oneof![
        4 => word.prop_map(|word| word.to_ne_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 1..300),
        1 => Just(b"\x1b]0;owned\x07\x1b[2J\r\n\xc2\x9b31m\xe2\x80\xae".to_vec()),
    ];
    let aligned = prop_oneof![3 => Just(7), 1 => Just(0)];
    (place, bytes, aligned).prop_map(|(place, bytes, bits): (usize, Vec<u8>, usize)| (place & !bits, bytes))
}

/// What is done to a segment before one look.
#[derive(Clone, Debug)]
struct Damage {
    edits: Vec<Edit>,
    /// It is cut to this length.
    cut: Option<usize>,
    /// Its owner lets go of it.
    dies: bool,
}

fn damage() -> impl Strategy<Value = Damage> {
    let cut = prop::option::weighted(0.1, 0..ROWS_OFFSET + 24 * size_of::<Row>());
    let edits = prop::collection::vec(edit(), 0..24);
    (edits, cut, prop::bool::weighted(0.1)).prop_map(|(edits, cut, dies)| Damage { edits, cut, dies })
}

fn with(image: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    for (place, edit) in edits {
        for (byte, new) in bytes.iter_mut().skip(*place).zip(edit) {
            *byte = *new;
        }
    }
    bytes
}

/// Every form in which processes are written. They are text, and steer no terminal.
fn written(snapshot: &Snapshot) {
    let form = |write: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        // What a look copies is bounded, and so is what can be said about it.
        assert!(out.len() < 8 << 20, "{} bytes", out.len());
        String::from_utf8(out).unwrap()
    };
    let ending = report::Ending { pid: 1, ..report::Ending::of("x") };
    let sides = snapshot.processes.iter().map(|process| Side::of(process, snapshot.timestamp));
    let sides: Vec<Side> = sides.collect();
    let pair = |(one, other): (&Side, &Side)| -> Comparison { compare(one, other) };
    let comparisons: Vec<Comparison> = sides.iter().zip(sides.iter().rev()).map(pair).collect();
    let texts = [
        form(&|out| text::write_list(snapshot, out)),
        form(&|out| text::write_details(snapshot, out)),
        form(&|out| report::write(&ending, &snapshot.processes, 1, out)),
        form(&|out| csv::write_names(out).and_then(|()| csv::write(snapshot, out))),
        form(&|out| comparisons.iter().try_for_each(|compared| comparison::write(compared, out))),
        form(&|out| openmetrics::write(snapshot, false, out)),
        form(&|out| openmetrics::write(snapshot, true, out)),
    ];
    for text in texts {
        let steers = text.chars().find(|&character| character.is_control() && character != '\n');
        assert_eq!(steers, None, "{text}");
    }
    let json = form(&|out| json::write(snapshot, out));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
}

/// One object, damaged before every look.
struct Case {
    image: usize,
    /// Whether the segment says it is this process's, for which `/proc` then is asked.
    own: bool,
    detail: Detail,
    damages: Vec<Damage>,
    /// On which of the screens it is shown.
    screen: usize,
    size: (u16, u16),
}

/// Cases without a long run, and between two looks at the clock.
const BATCH: u32 = 48;
/// Processor time that a look and all that is shown of it may take: seconds, where milliseconds are usual.
const MOST_TIME: Duration = Duration::from_secs(20);

impl Case {
    /// What could be shown, look by look.
    fn run(&self) -> Vec<Process> {
        let started = thread_cpu_time();
        let own = Proc::find(std::process::id()).unwrap();
        let mut image = Fake { bytes: images()[self.image % images().len()].clone() };
        if self.own {
            image.half(offset_of!(Header, pid), own.namespace_pid);
            image.word(offset_of!(Header, start_ticks), own.start_ticks);
            image.word(offset_of!(Header, pid_namespace), proc::own_pid_namespace().unwrap());
        } else {
            // The process of the image has ended: only its lock says that it lives.
            image.word(offset_of!(Header, start_ticks), 0);
        }
        let (published, entry) = Published::new(|fake| fake.bytes = Vec::new()).hidden();
        let mut context = Context { copies: Copies::default(), rules: Rules::default(), among: 1 };
        let mut attached = None;
        let mut shown: Vec<Process> = Vec::new();
        for damage in &self.damages {
            let bytes = with(&image.bytes, &damage.edits);
            published.file.set_len(SEGMENT_BYTES as u64).unwrap();
            published.file.write_all_at(&bytes, 0).unwrap();
            if let Some(cut) = damage.cut {
                published.file.set_len(cut as u64).unwrap();
            }
            if damage.dies {
                published.dies();
            }
            if attached.is_none() {
                let proc = Some(Proc::find(own.pid).unwrap()).filter(|_| self.own);
                attached = Attached::at(&entry, proc, &mut context, self.detail).map_err(|error| told(&error)).ok();
            }
            let Some(attached) = &mut attached else { continue };
            attached.notice_end();
            match attached.refresh(&mut context, self.detail) {
                Ok(process) => shown.push(process),
                Err(error) => told(&error),
            }
        }
        let snapshot = Snapshot::of(Time::now(), shown.clone());
        written(&snapshot);
        everywhere::draw(&shown, self.screen, self.size);
        let spent = thread_cpu_time().saturating_sub(started);
        assert!(spent < MOST_TIME, "{spent:?}");
        shown
    }
}

/// An error says something, and steers no terminal.
fn told(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    assert!(error.exit_code() <= 7);
}

fn case() -> impl Strategy<Value = Case> {
    let size = prop_oneof![(1..220_u16, 1..70_u16), (38..44_u16, 8..14_u16)];
    let detail = prop_oneof![4 => Just(Detail::Full), 1 => Just(Detail::Line)];
    (0..4_usize, any::<bool>(), detail, prop::collection::vec(damage(), 1..4), 0..4_usize, size)
        .prop_map(|(image, own, detail, damages, screen, size)| Case { image, own, detail, damages, screen, size })
}

impl std::fmt::Debug for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { image, own, detail, screen, size, damages } = self;
        write!(out, "image {image}, own {own}, {detail:?}, screen {screen}, {size:?}, {damages:?}")
    }
}

#[test]
fn undamaged_segments_are_shown_whole() {
    let sound = Damage { edits: vec![], cut: None, dies: false };
    let shown = |image: usize| {
        let damages = vec![sound.clone(), sound.clone()];
        Case { image, own: image == 0, detail: Detail::Full, damages, screen: image, size: (120, 40) }.run()
    };
    for image in 0..images().len() {
        let looks = shown(image);
        assert_eq!(looks.len(), 2);
        let history = looks[1].history.as_ref().unwrap();
        assert!(history.seconds.len() > 100 && history.minutes.len() > 100, "{}", history.seconds.len());
        assert!(looks.iter().all(|look| look.state == State::Live && look.totals.allocations > Some(0)));
    }
    let misuse = shown(0)[1].misuse.clone().unwrap();
    assert_eq!((misuse.last.len(), misuse.foreign_frees, misuse.double_frees), (32, 210, 20));
}

#[test]
fn damaged_segments_break_nothing_from_source_to_screen() {
    let (start, wanted) = (Instant::now(), ::tests::long_run().unwrap_or_default());
    let (mut cases, looks, shown) = (0, AtomicU32::new(0), AtomicU32::new(0));
    while cases == 0 || start.elapsed() < wanted {
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        let run = |case: Case| {
            looks.fetch_add(case.damages.len() as u32, Ordering::Relaxed);
            shown.fetch_add(case.run().len() as u32, Ordering::Relaxed);
            Ok(())
        };
        TestRunner::new(config).run(&case(), run).unwrap_or_else(|failure| panic!("{failure}"));
        cases += BATCH;
    }
    let (looks, shown) = (looks.into_inner(), shown.into_inner());
    println!("{cases} segments, {looks} looks, {shown} of them shown");
    assert!(shown > looks / 4, "what is refused tests nothing: {shown} of {looks}");
}
