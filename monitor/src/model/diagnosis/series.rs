//! The history as one series, oldest first, the present last.

use super::rules::{EVEN_SLOPE, FEWEST_STRETCHES, RISING_STEP, STRETCHES, threshold};
use crate::model::time::NANOS;
use crate::model::{Point, Process, Time};

/// What is known of a process's past, oldest first, with the present behind it.
pub(super) struct Series {
    /// Minutes, then seconds, then the present.
    pub(super) all: Vec<Point>,
    /// The minutes alone, as far as there are.
    minutes: Vec<Point>,
    /// The hours alone.
    hours: Vec<Point>,
    /// From here on there are seconds.
    fine_from: Time,
    /// The begin of the first period that is known.
    pub(super) begin: Time,
}

impl Series {
    /// The history of a process, and the present.
    pub(super) fn of(process: &Process, now: Time) -> Option<Self> {
        let (history, present) = (process.history.as_ref()?, Point::of(&process.totals, now)?);
        let past =
            |points: &[Point]| -> Vec<Point> { points.iter().filter(|point| point.time < now).copied().collect() };
        let (minutes, seconds) = (past(&history.minutes), past(&history.seconds));
        let hours = past(&history.hours);
        let fine_from = seconds.first().map_or(now, |point| before(point.time, 1));
        let begin = minutes.first().map_or(fine_from, |point| before(point.time, 60).min(fine_from));
        let coarse = minutes.iter().copied().take_while(|point| point.time <= fine_from);
        let all = coarse.chain(seconds).chain([present]).collect();
        Some(Self { all, minutes, hours, fine_from, begin })
    }

    /// The same over days, by the hours, where it ends above all that came before: what comes back every day is no rise.
    pub(super) fn slow_rise(&self, now: Time, seconds: f64, said: bool) -> Option<Rise> {
        let earlier = self.hours.iter().take_while(|point| now.seconds_since(point.time) > seconds);
        let highest = earlier.map(|point| point.allocated_bytes as f64).fold(0.0, f64::max);
        rise(&self.hours, now, seconds, Cuts { said, stairs: true }).filter(|rise| rise.to.bytes > highest)
    }

    /// Seconds for which all is known by the hour.
    pub(super) fn coarse_seconds(&self, now: Time) -> f64 {
        self.hours.first().map_or(0.0, |point| now.seconds_since(before(point.time, 3600)))
    }

    /// How the floor rose over the last `seconds`: `Some` where it did so in all of the steps but one of nine.
    ///
    /// What reaches beyond the seconds is judged by minutes alone: the floor of sixty seconds lies below that of one
    /// value, and a change of measure would look like a fall.
    ///
    /// Into what it is cut is up to `cuts`.
    pub(super) fn rise(&self, now: Time, seconds: f64, cuts: Cuts) -> Option<Rise> {
        let fine = self.fine_seconds(now) >= seconds;
        rise(if fine { &self.all } else { &self.minutes }, now, seconds, cuts)
    }

    /// What an earlier climb had reached that was as high as this one and took half its time or more, and came back: what
    /// a batch frees at its end. What happens between two points is not seen: neither its foot nor its top may be known.
    pub(super) fn came_back_from(&self, rise: &Rise, now: Time) -> Option<f64> {
        let begun = self.all.partition_point(|point| now.seconds_since(point.time) >= rise.from.ago);
        let earlier = &self.all[..begun];
        let apart = earlier.windows(2).map(|pair| pair[1].time.seconds_since(pair[0].time)).fold(0.0, f64::max);
        let height = rise.bytes() - 2.0 * rise.per_second() * apart;
        let bytes = |point: &Point| point.allocated_bytes as f64;
        let came_back = |at: usize| {
            let top = &earlier[at];
            let foot = earlier[..at].iter().rfind(|foot| bytes(top) - bytes(foot) >= height)?;
            let slow = 2.0 * top.time.seconds_since(foot.time) >= rise.from.ago - rise.to.ago - 2.0 * apart;
            let back = earlier[at..].iter().any(|later| bytes(later) <= bytes(foot) + height / 4.0);
            (slow && back).then(|| bytes(top))
        };
        (0..begun).filter_map(came_back).reduce(f64::max)
    }

    /// Whether a rise is over, by the minutes and seconds; see [`has_stopped`].
    pub(super) fn has_stopped(&self, rise: &Rise, now: Time, minute: f64, said: bool) -> bool {
        has_stopped(last(&self.all, rise.seconds), rise, now, minute, said)
    }

    /// The same by the hours.
    pub(super) fn has_stopped_slowly(&self, rise: &Rise, now: Time, hour: f64, said: bool) -> bool {
        has_stopped(last(&self.hours, rise.seconds), rise, now, hour, said)
    }

    /// Seconds for which all is known by the second.
    pub(super) fn fine_seconds(&self, now: Time) -> f64 {
        now.seconds_since(self.fine_from)
    }

    /// The same rise with the minutes before it in which it rose as well, at half its rate or more: what has been seen
    /// for less than `longest` seconds may have begun before the seconds did.
    pub(super) fn since_its_begin(&self, mut rise: Rise, now: Time, longest: f64) -> Rise {
        let least = EVEN_SLOPE * rise.per_second();
        for pair in self.minutes.windows(2).rev() {
            let ago = now.seconds_since(pair[0].time);
            if ago <= rise.seconds {
                continue;
            }
            let (bytes, later) = (pair[0].allocated_bytes as f64, pair[1].allocated_bytes as f64);
            let falls = bytes > rise.from.bytes;
            if ago >= longest || falls || later - bytes < least * pair[1].time.seconds_since(pair[0].time) {
                break;
            }
            rise = Rise { from: Floor { bytes, ago }, seconds: ago, ..rise };
        }
        rise
    }
}

fn before(time: Time, seconds: u64) -> Time {
    Time(time.0.saturating_sub(seconds * NANOS))
}

/// The points of the last `seconds`, and the one that held when they began.
pub(super) fn last(series: &[Point], seconds: f64) -> &[Point] {
    let Some(end) = series.last() else { return series };
    let first = series.partition_point(|point| end.time.seconds_since(point.time) > seconds);
    &series[first.saturating_sub(1)..]
}

/// How the floor of the allocated bytes rose.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Rise {
    /// The first stretch's floor,
    pub(super) from: Floor,
    /// and the last one's.
    pub(super) to: Floor,
    /// The slope of the last third over that of the first; infinite where it began flat.
    pub(super) evenness: f64,
    /// The time looked at, in seconds.
    pub(super) seconds: f64,
}

/// The least of a stretch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Floor {
    pub(super) bytes: f64,
    /// Seconds since then.
    ago: f64,
}

impl Rise {
    /// From one floor to the other.
    pub(super) fn bytes(&self) -> f64 {
        self.to.bytes - self.from.bytes
    }

    /// Bytes per second of the time between the two: a floor lies anywhere in its stretch.
    pub(super) fn per_second(&self) -> f64 {
        self.bytes() / (self.from.ago - self.to.ago)
    }
}

/// Where coarser cuts than into ten stretches are tried as well.
#[derive(Clone, Copy)]
pub(super) struct Cuts {
    /// Growth was said the last time, and is withdrawn later.
    pub(super) said: bool,
    /// What never falls is a rise however wide its stairs are. Not in a minute or two, where a few are chance.
    pub(super) stairs: bool,
}

/// Cuts the last `seconds` into stretches, and compares the least of each.
///
/// What was `said`, or never falls, is looked for in coarser cuts as well: where blocks come about as often as a stretch is
/// long, or more seldom, one stretch gets none and another two.
fn rise(series: &[Point], end: Time, seconds: f64, Cuts { said, stairs }: Cuts) -> Option<Rise> {
    let inside = series.partition_point(|point| end.seconds_since(point.time) > seconds);
    let points = &series[inside..];
    let mut cuts = (FEWEST_STRETCHES..=STRETCHES).rev().filter_map(|count| floors(points, end, seconds, count));
    let finest = rise_of(&cuts.next()?, seconds, said);
    let coarser = said || stairs && finest.is_none() && never_falls(points);
    finest.or_else(|| cuts.filter(|_| coarser).find_map(|floors| rise_of(&floors, seconds, false)))
}

fn rise_of(floors: &[Floor], seconds: f64, said: bool) -> Option<Rise> {
    let steps = floors.len() - 1;
    let step = |from: usize, to: usize| floors[to].bytes - floors[from].bytes;
    let bytes = step(0, steps);
    // What creeps on after a climb is no more than a tenth of its steps.
    let least = threshold(RISING_STEP, said) * bytes / steps as f64;
    let rising = (0..steps).filter(|&at| step(at, at + 1) > 0.0 && step(at, at + 1) >= least).count();
    if (rising as f64) < threshold((steps - steps / 9) as f64, said) || 2.0 * fall(floors) > bytes {
        return None;
    }
    let third = (steps / 3).max(1);
    let (first, last) = (step(0, third), step(steps - third, steps));
    Some(Rise {
        from: floors[0],
        to: floors[steps],
        evenness: if first > 0.0 { last / first } else { f64::INFINITY },
        seconds,
    })
}

/// How far a floor that two stretches had in common was undercut later: what has come back since did not stay. One
/// stretch that stands out above its neighbours is no floor.
fn fall(floors: &[Floor]) -> f64 {
    let (mut held, mut most) = (f64::MIN, 0.0_f64);
    for three in floors.windows(3) {
        held = held.max(three[0].bytes.min(three[1].bytes));
        most = most.max(held - three[2].bytes);
    }
    most
}

/// Whether a rise is over: its floor has stood for longer than twice the longest time that a hundredth of the rise took,
/// and `grain` seconds. The least of the last `grain` stands for all of that: what moves up and down within it is no rise.
///
/// What was `said` is withdrawn later.
fn has_stopped(points: &[Point], rise: &Rise, now: Time, grain: f64, said: bool) -> bool {
    let mut least = f64::INFINITY;
    let mut floors: Vec<Floor> = Vec::with_capacity(points.len());
    for point in points.iter().rev() {
        least = least.min(point.allocated_bytes as f64);
        let floor = Floor { bytes: least, ago: now.seconds_since(point.time) };
        match floors.last_mut().filter(|_| floor.ago <= grain) {
            Some(youngest) => *youngest = floor,
            None => floors.push(floor),
        }
    }
    let hundredth = RISING_STEP * rise.bytes() / (STRETCHES - 1) as f64;
    let mut oldest_first = floors.into_iter().rev();
    let Some(mut held) = oldest_first.next() else { return false };
    let mut longest = 0.0_f64;
    for floor in oldest_first {
        if floor.bytes - held.bytes >= hundredth {
            longest = longest.max(held.ago - floor.ago);
            held = floor;
        }
    }
    threshold(held.ago, said) > grain + 2.0 * longest
}

/// Whether all that was lost on the way is a twentieth of what was won, at most.
fn never_falls(points: &[Point]) -> bool {
    let steps = || points.windows(2).map(|pair| pair[1].allocated_bytes as f64 - pair[0].allocated_bytes as f64);
    let lost: f64 = steps().map(|step| (-step).max(0.0)).sum();
    20.0 * lost <= steps().sum()
}

/// The least of each stretch, as it first was; `None` where one of them has no point.
fn floors(points: &[Point], end: Time, seconds: f64, count: usize) -> Option<Vec<Floor>> {
    let mut floors = vec![None; count];
    for point in points {
        let (bytes, ago) = (point.allocated_bytes as f64, end.seconds_since(point.time));
        let stretch = count - 1 - ((ago / seconds * count as f64) as usize).min(count - 1);
        let floor: &mut Option<Floor> = &mut floors[stretch];
        if floor.is_none_or(|floor| bytes < floor.bytes) {
            *floor = Some(Floor { bytes, ago });
        }
    }
    floors.into_iter().collect()
}
