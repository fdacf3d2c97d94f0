//! The parts that all plots share: the sheet, the axes, the colours, and a legend beside the plot.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::super::text;

/// Width of the part with the axes; the legend stands to the right of it.
pub(super) const WIDTH: u32 = 700;
const LEGEND: u32 = 220;
const LINE: i32 = 16;
const FONT: &str = "sans-serif";

/// Twelve colours that stay apart for most eyes; beyond that, lines are dashed.
/// Source: P. Tol, "Colour schemes" (2021), muted and bright, darkened where white paper needs it.
const COLOURS: [RGBColor; 12] = [
    RGBColor(51, 34, 136),
    RGBColor(204, 102, 119),
    RGBColor(17, 119, 51),
    RGBColor(221, 119, 0),
    RGBColor(0, 119, 187),
    RGBColor(170, 68, 153),
    RGBColor(102, 102, 0),
    RGBColor(68, 170, 153),
    RGBColor(136, 34, 85),
    RGBColor(187, 153, 0),
    RGBColor(102, 153, 204),
    RGBColor(85, 85, 85),
];

/// One line of a plot.
pub(super) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Vertical bars: where, from, to.
    pub bars: Vec<(f64, f64, f64)>,
    /// Whether points are marked.
    pub marked: bool,
}

/// How an axis is written.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    /// Nanoseconds, logarithmic.
    LogNs,
    /// A count, logarithmic.
    LogCount,
    /// A share from 0 to 1.
    Share,
}

impl Scale {
    fn write(self, value: f64) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "labels of an axis are positive and small"
        )]
        let whole = value.round() as u64;
        match self {
            Self::LogNs => text::ns(whole).replace(".00 ", " ").replace(".0 ", " "),
            Self::LogCount => whole.to_string(),
            Self::Share => format!("{:.0} %", value * 100.0),
        }
    }
}

/// Draws lines over a logarithmic x-axis.
pub(super) fn lines(x: (&str, Scale), y: (&str, Scale), lines: &[Line]) -> Result<String> {
    let rows = i32::try_from(lines.len()).unwrap_or(i32::MAX / LINE);
    let height = 420.max(u32::try_from(rows * LINE + 40).unwrap_or(420));
    let mut svg = String::new();
    {
        let sheet = SVGBackend::with_string(&mut svg, (WIDTH + LEGEND, height)).into_drawing_area();
        sheet.fill(&WHITE).map_err(failed)?;
        let (plot, side) = sheet.split_horizontally(WIDTH);
        axes(&plot, x, y, lines)?;
        legend(&side, lines)?;
        sheet.present().map_err(failed)?;
    }
    Ok(svg)
}

type Sheet<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn axes(plot: &Sheet<'_>, x: (&str, Scale), y: (&str, Scale), lines: &[Line]) -> Result<()> {
    let xs = range(lines.iter().flat_map(|l| l.points.iter().map(|p| p.0)));
    let ys = range(lines.iter().flat_map(|l| {
        l.points
            .iter()
            .map(|p| p.1)
            .chain(l.bars.iter().flat_map(|b| [b.1, b.2]))
    }));
    let mut builder = ChartBuilder::on(plot);
    builder
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70);
    let across = (xs.0..xs.1).log_scale();
    match y.1 {
        Scale::Share => fill(
            builder
                .build_cartesian_2d(across, 0f64..1f64)
                .map_err(failed)?,
            x,
            y,
            lines,
        ),
        _ => fill(
            builder
                .build_cartesian_2d(across, (ys.0..ys.1).log_scale())
                .map_err(failed)?,
            x,
            y,
            lines,
        ),
    }
}

fn fill<Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<LogCoord<f64>, Y>>,
    x: (&str, Scale),
    y: (&str, Scale),
    lines: &[Line],
) -> Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let labels = (FONT, 13);
    chart
        .configure_mesh()
        .x_desc(x.0)
        .y_desc(y.0)
        .x_labels(8)
        .y_labels(8)
        .label_style(labels)
        .axis_desc_style(labels)
        .light_line_style(RGBColor(240, 240, 240))
        .x_label_formatter(&|v| x.1.write(*v))
        .y_label_formatter(&|v| y.1.write(*v))
        .draw()
        .map_err(failed)?;
    for (index, line) in lines.iter().enumerate() {
        let (colour, dashes) = style(index);
        let points = line.points.iter().copied();
        let bars = line.bars.iter();
        let bars = bars.map(|(at, from, to)| {
            PathElement::new(vec![(*at, *from), (*at, *to)], colour.stroke_width(1))
        });
        chart.draw_series(bars).map_err(failed)?;
        match dashes {
            None => chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                .map(drop),
            Some((dash, gap)) => chart
                .draw_series(DashedLineSeries::new(
                    points,
                    dash,
                    gap,
                    colour.stroke_width(2),
                ))
                .map(drop),
        }
        .map_err(failed)?;
        if line.marked {
            let marks = line
                .points
                .iter()
                .map(|p| Circle::new(*p, 3, colour.filled()));
            chart.draw_series(marks).map_err(failed)?;
        }
    }
    Ok(())
}

/// From a little below the smallest to a little above the largest, at least half a decade.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    match low.is_finite() && low > 0.0 {
        true => (low * 0.8, (high * 1.25).max(low * 3.0)),
        false => (1.0, 10.0),
    }
}

fn legend(side: &Sheet<'_>, lines: &[Line]) -> Result<()> {
    for (index, line) in lines.iter().enumerate() {
        let middle = 20 + i32::try_from(index).unwrap_or(0) * LINE;
        let (colour, dashes) = style(index);
        let stroke = colour.stroke_width(2);
        let pieces = match dashes {
            None => vec![(4, 28)],
            Some(_) => vec![(4, 10), (13, 19), (22, 28)],
        };
        for (from, to) in pieces {
            side.draw(&PathElement::new(
                vec![(from, middle), (to, middle)],
                stroke,
            ))
            .map_err(failed)?;
        }
        side.draw(&Text::new(line.name.clone(), (34, middle - 6), (FONT, 13)))
            .map_err(failed)?;
    }
    Ok(())
}

fn style(index: usize) -> (RGBColor, Option<(u32, u32)>) {
    let dashes = [None, Some((8, 5)), Some((2, 4))];
    (
        COLOURS[index % COLOURS.len()],
        dashes[(index / COLOURS.len()) % dashes.len()],
    )
}

/// A field of a map: its text and its colour.
pub(super) struct Field {
    pub text: String,
    pub colour: RGBColor,
}

/// Draws a map: rows, columns, fields.
pub(super) fn map(
    rows: &[&str],
    columns: &[&str],
    field: impl Fn(usize, usize) -> Option<Field>,
) -> Result<String> {
    const LEFT: i32 = 200;
    const TOP: i32 = 110;
    const FIELD: (i32, i32) = (74, 22);
    let size = |count: usize, each: i32, rest: i32| {
        u32::try_from(rest + each * i32::try_from(count).unwrap_or(0)).unwrap_or(1)
    };
    let mut svg = String::new();
    {
        let sheet = (
            size(columns.len(), FIELD.0, LEFT + 70),
            size(rows.len(), FIELD.1, TOP + 10),
        );
        let sheet = SVGBackend::with_string(&mut svg, sheet).into_drawing_area();
        sheet.fill(&WHITE).map_err(failed)?;
        let place =
            |at: usize, each: i32, begin: i32| begin + each * i32::try_from(at).unwrap_or(0);
        for (at, column) in columns.iter().enumerate() {
            // Slanted headings would need a font's metrics; every second one stands a line higher
            // instead.
            let lift = i32::try_from(at % 4).unwrap_or(0) * 22;
            let x = place(at, FIELD.0, LEFT);
            sheet
                .draw(&Text::new(
                    (*column).to_owned(),
                    (x, TOP - 18 - lift),
                    (FONT, 12),
                ))
                .map_err(failed)?;
            sheet
                .draw(&PathElement::new(
                    vec![(x + 2, TOP - 4 - lift), (x + 2, TOP)],
                    RGBColor(150, 150, 150),
                ))
                .map_err(failed)?;
        }
        for (row, name) in rows.iter().enumerate() {
            let y = place(row, FIELD.1, TOP);
            sheet
                .draw(&Text::new((*name).to_owned(), (6, y + 5), (FONT, 12)))
                .map_err(failed)?;
            for column in 0..columns.len() {
                let x = place(column, FIELD.0, LEFT);
                let Some(field) = field(row, column) else {
                    continue;
                };
                let area = [(x, y), (x + FIELD.0 - 2, y + FIELD.1 - 2)];
                sheet
                    .draw(&Rectangle::new(area, field.colour.filled()))
                    .map_err(failed)?;
                sheet
                    .draw(&Text::new(field.text, (x + 5, y + 5), (FONT, 11)))
                    .map_err(failed)?;
            }
        }
        sheet.present().map_err(failed)?;
    }
    Ok(svg)
}

fn failed<E: std::fmt::Display>(error: E) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
