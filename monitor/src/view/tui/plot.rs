//! Draws a graph: stacked columns from zero, with a scale, a time axis and the last values in figures. In dots (eight to
//! a cell), in blocks, or in ASCII.

use super::graph::{Edges, Graph};
use super::table::put;
use super::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Rows below which a graph says nothing.
pub(super) const LEAST_ROWS: u16 = 4;
/// Columns left of the graph, for the scale.
const SCALE: u16 = 9;
/// Dots of a cell, across and upward.
const ACROSS: usize = 2;
const UPWARD: usize = 4;

/// Draws a graph; nothing where there is too little room.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, graph: &Graph, theme: &Theme) {
    if area.height < LEAST_ROWS || area.width < SCALE + 10 {
        return;
    }
    let plot = Rect { x: area.x + SCALE, y: area.y + 1, width: area.width - SCALE, height: area.height - 2 };
    let across = if theme.symbols.dots { ACROSS } else { 1 };
    let columns = columns(&graph.periods, usize::from(plot.width) * across);
    let top = columns.iter().flatten().map(|edges| edges[2]).fold(0.0, f64::max);

    legend(buffer, area, graph, theme);
    let scale = SCALE - 1;
    put(buffer, (area.x, plot.y), scale, &(graph.show)(top), true, theme.quiet(), theme);
    put(buffer, (area.x, plot.bottom() - 1), scale, "0", true, theme.quiet(), theme);
    let columns: Vec<Option<Edges>> = columns
        .into_iter()
        .map(|edges| edges.map(|edges| edges.map(|edge| edge / top.max(f64::MIN_POSITIVE))))
        .collect();
    if theme.symbols.dots {
        for (x, pair) in (plot.x..).zip(columns.chunks(ACROSS)) {
            dots(buffer, x, plot, pair, theme);
        }
    } else {
        for (x, edges) in (plot.x..).zip(&columns) {
            if let Some(edges) = edges {
                stack(buffer, x, plot, *edges, theme);
            }
        }
    }
    let axis = Rect { y: plot.bottom(), height: 1, ..plot };
    buffer.set_stringn(axis.x, axis.y, theme.symbols.rule.repeat(axis.width.into()), axis.width.into(), theme.quiet());
    buffer.set_stringn(axis.x, axis.y, format!("-{} ", graph.span), axis.width.into(), theme.quiet());
    put(buffer, (axis.right() - 4, axis.y), 4, " now", true, theme.quiet(), theme);
}

/// The highest of the periods that fall on each of `width` columns.
fn columns(periods: &[Option<Edges>], width: usize) -> Vec<Option<Edges>> {
    let highest = |column: usize| {
        let from = column * periods.len() / width;
        let to = ((column + 1) * periods.len() / width).max(from + 1).min(periods.len());
        periods[from..to].iter().flatten().copied().max_by(|one, other| one[2].total_cmp(&other[2]))
    };
    (0..width).map(highest).collect()
}

/// The title, and each layer's mark, name and last value. Where that does not fit, the values are left out: a layer
/// without a name would be taken for another.
fn legend(buffer: &mut Buffer, area: Rect, graph: &Graph, theme: &Theme) {
    let (mut x, _) = buffer.set_stringn(area.x, area.y, graph.title, area.width.into(), theme.strong());
    let full = graph.legend.iter().map(|(layer, name, value)| (layer, format!("{name} {value}").trim_end().to_owned()));
    let mut legend: Vec<(&usize, String)> = full.collect();
    let width: usize = legend.iter().map(|(_, text)| text.len() + 3).sum();
    if width > usize::from(area.right().saturating_sub(x)) {
        legend = graph.legend.iter().map(|(layer, name, _)| (layer, (*name).to_owned())).collect();
    }
    for (layer, text) in &legend {
        let left = area.right().saturating_sub(x);
        if usize::from(left) < text.len() + 3 {
            break;
        }
        (x, _) = buffer.set_stringn(x + 1, area.y, theme.symbols.layers[**layer], 1, theme.layer(**layer));
        (x, _) = buffer.set_stringn(x + 1, area.y, text, left.into(), Style::new());
    }
}

/// Two columns of dots; the edges are shares of the plot's height. The layers are told apart by how dense they are: all
/// dots, every second, every fourth.
fn dots(buffer: &mut Buffer, x: u16, plot: Rect, pair: &[Option<Edges>], theme: &Theme) {
    const BITS: [[u32; UPWARD]; ACROSS] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
    let rows = usize::from(plot.height) * UPWARD;
    let heights = |edges: &Edges| {
        let least = if edges[2] > 0.0 { 1 } else { 0 };
        let rounded = edges.map(|edge| (edge * rows as f64).round() as usize);
        // What is there can be seen, however little.
        [rounded[0], rounded[1], rounded[2].max(least)]
    };
    let heights: Vec<Option<[usize; 3]>> = pair.iter().map(|edges| edges.as_ref().map(heights)).collect();
    for cell in 0..usize::from(plot.height) {
        let (mut bits, mut counts) = (0, [0; 3]);
        for (across, heights) in heights.iter().enumerate() {
            let Some(heights) = heights else { continue };
            for (upward, bit) in BITS[across].into_iter().enumerate() {
                let dot = cell * UPWARD + upward;
                let Some(layer) = heights.iter().position(|&height| dot < height) else { continue };
                counts[layer] += 1;
                let dense = match layer {
                    0 => true,
                    1 => (across + dot).is_multiple_of(2),
                    _ => across == 0 && dot.is_multiple_of(2),
                };
                if dense {
                    bits |= bit;
                }
            }
        }
        if counts == [0; 3] {
            break;
        }
        let layer = (0..3).max_by_key(|&layer| counts[layer]).unwrap_or(0);
        let y = plot.bottom() - 1 - cell as u16;
        // The one dot of a thin layer may fall on a place where that layer has none.
        let symbol = char::from_u32(0x2800 + if bits == 0 { BITS[0][0] } else { bits }).unwrap_or(' ');
        buffer[(x, y)].set_char(symbol).set_style(theme.layer(layer));
    }
}

/// One column of blocks or ASCII; the edges are shares of the plot's height.
fn stack(buffer: &mut Buffer, x: u16, plot: Rect, edges: Edges, theme: &Theme) {
    let rising = theme.symbols.rising;
    for step in 0..plot.height {
        let floor = f64::from(step);
        let filled = edges.map(|edge| (edge * f64::from(plot.height) - floor).clamp(0.0, 1.0));
        let eighths = (filled[0] * 8.0).round() as usize;
        let above = (1..3).find(|&layer| filled[layer] >= 0.5);
        let (symbol, style) = if eighths >= 8 {
            (theme.symbols.layers[0], theme.layer(0))
        } else if eighths >= 1 && rising.len() == 8 {
            let style = above.map_or(theme.layer(0), |above| theme.layer_over(0, above));
            (rising[eighths - 1], style)
        } else if eighths >= 4 {
            (theme.symbols.layers[0], theme.layer(0))
        } else if let Some(layer) = above {
            (theme.symbols.layers[layer], theme.layer(layer))
        } else if step == 0 && filled[2] > 0.0 {
            (rising[0], theme.layer(0))
        } else {
            break;
        };
        buffer.set_stringn(x, plot.bottom() - 1 - step, symbol, 1, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shows_the_highest_of_its_periods() {
        let period = |height: f64| Some([height; 3]);
        let periods = [None, period(1.0), period(9.0), period(2.0)];
        assert_eq!(columns(&periods, 2), [period(1.0), period(9.0)]);
        assert_eq!(columns(&periods, 8)[7], period(2.0));
        assert_eq!(columns(&periods, 1), [period(9.0)]);
    }

    #[test]
    fn layers_differ_by_density_without_any_colour() {
        let area = Rect { x: 0, y: 0, width: 1, height: 3 };
        let mut buffer = Buffer::empty(area);
        let edges = Some([1.0 / 3.0, 2.0 / 3.0, 1.0]);
        dots(&mut buffer, 0, area, &[edges, edges], &Theme::new(false, true));
        let drawn: Vec<&str> = (0..3).rev().map(|y| buffer[(0, y)].symbol()).collect();
        assert_eq!(drawn, Theme::new(false, true).symbols.layers);
    }
}
