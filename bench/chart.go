package main

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// toolColours are the colours of the bars: purr stands out, and both stay apart for those who see no red or green.
var toolColours = map[string]color.Color{
	purr:  color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	obsd:  color.RGBA{0x33, 0x6f, 0xa8, 0xff},
	trad:  color.RGBA{0x86, 0xb0, 0xd6, 0xff},
	ncat:  color.RGBA{0x6b, 0x6b, 0x6b, 0xff},
	socat: color.RGBA{0xb5, 0xb5, 0xb5, 0xff},
}

// chartMost is where a bar is cut: what is many times as fast would make all others unreadable.
const chartMost = 4.0

// charted says whether a row belongs in the chart: it has a ratio to the best peer, and is not the Unix twin of another.
func (res *result) charted() bool {
	_, err := res.figure(goal{})
	return err == nil && res.lane.network != "unix" && !res.goals[0].absolute && res.goals[0].against == ""
}

// relative is the speed of a cell relative to the best peer, whichever way the row counts; 0 if it has none.
func (res *result) relative(label string) float64 {
	c, best := res.find(label), res.best()
	if c == nil || best == nil || c.value() == 0 || best.value() == 0 {
		return 0
	}
	if res.lower {
		return best.value() / c.value()
	}
	return c.value() / best.value()
}

// drawChart writes the chart of the results as SVG: for each row the speed of each tool, the best peer being 1.
func drawChart(path string, results []*result) error {
	rows := slices.DeleteFunc(slices.Clone(results), func(res *result) bool { return !res.charted() })
	if len(rows) == 0 {
		return fmt.Errorf("%s: none of the rows measured belongs in the chart", path)
	}
	slices.Reverse(rows) // the axis begins below
	p := plot.New()
	p.BackgroundColor = color.White // so that it can be read on a dark page, too
	p.Title.Text = "Speed of each program, the best of the other four being 1"
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = "times the best peer (longer is better)"
	p.X.Min, p.X.Max = 0, chartMost+0.4
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 1, Label: "1"}, {Value: 2, Label: "2"},
		{Value: 3, Label: "3"}, {Value: 4, Label: "4"}}
	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	p.Add(grid)
	if err := addBars(p, rows); err != nil {
		return err
	}
	var names []string
	for _, res := range rows {
		names = append(names, res.work)
	}
	p.NominalY(names...)
	p.Legend.Top = false
	p.Legend.Padding = vg.Points(2)
	const perRow = 1.6 * vg.Centimeter
	return p.Save(24*vg.Centimeter, vg.Length(len(rows))*perRow+3*vg.Centimeter, path)
}

// addBars adds the bars of each tool, the legend, and purr's figures.
func addBars(p *plot.Plot, rows []*result) error {
	const thick = 7.0 // points
	tools := []string{purr, obsd, trad, ncat, socat}
	for i, name := range tools {
		var values plotter.Values
		for _, res := range rows {
			values = append(values, min(res.relative(name), chartMost))
		}
		bars, err := plotter.NewBarChart(values, vg.Points(thick))
		if err != nil {
			return err
		}
		bars.Horizontal = true
		bars.Color = toolColours[name]
		bars.LineStyle.Width = 0
		bars.Offset = vg.Points(thick * (float64(len(tools)-1)/2 - float64(i)))
		p.Add(bars)
		p.Legend.Add(name, bars)
	}
	return addFigures(p, rows, vg.Points(thick*float64(len(tools)-1)/2))
}

// addFigures writes purr's ratio behind its bar.
func addFigures(p *plot.Plot, rows []*result, offset vg.Length) error {
	var at plotter.XYLabels
	for i, res := range rows {
		ratio := res.relative(purr)
		at.XYs = append(at.XYs, plotter.XY{X: min(ratio, chartMost), Y: float64(i)})
		at.Labels = append(at.Labels, fmt.Sprintf("%.1f", ratio))
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Color = toolColours[purr]
		labels.TextStyle[i].YAlign = draw.YCenter
		labels.TextStyle[i].Font.Size = vg.Points(9)
	}
	labels.Offset = vg.Point{X: vg.Points(3), Y: offset}
	p.Add(labels)
	return nil
}
