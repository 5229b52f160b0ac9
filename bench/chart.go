package main

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"os"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chartTools are the tools in the chart, from the top of each group down. purr stands out, and the colours stay apart
// for those who do not see red or green.
var chartTools = []struct {
	name   string
	colour color.Color
}{
	{purr, color.RGBA{0xd5, 0x5e, 0x00, 0xff}},
	{obsd, color.RGBA{0x33, 0x6f, 0xa8, 0xff}},
	{trad, color.RGBA{0x86, 0xb0, 0xd6, 0xff}},
	{ncat, color.RGBA{0x6b, 0x6b, 0x6b, 0xff}},
	{socat, color.RGBA{0xb5, 0xb5, 0xb5, 0xff}},
	{rsync, color.RGBA{0x5a, 0x8f, 0x5a, 0xff}},
}

const (
	// chartMost is where a bar is cut: what is many times as fast would make all the others unreadable.
	chartMost = 4.0
	// chartSpare is how much of the axis is left for the figures behind the bars.
	chartSpare = 1.2
	// barWidth is the thickness of a bar.
	barWidth = vg.Length(6)
)

// charted are the rows that the chart shows, where they have a result: speeds, once over TCP.
var charted = []string{"file-tcp", "sendfile-tcp", "pipe-tcp", "tcp-null", "tcp-pipe", "tcp-file", "tcp-append",
	"pipe-tcp-pipe", "both-tcp", "upper-tcp", "echo", "echo-upper", "pingpong", "connections", "udp-send",
	"udp-receive", "push-file", "pull-file", "push-files", "pull-files"}

// relative is the speed of a tool relative to the best peer, whichever way the row counts; 0 if it has none.
func (res *result) relative(tool string) float64 {
	var most float64
	best := res.best()
	for _, c := range res.cells {
		if c.tool.name != tool || c.label == base || c.aside || !c.good() || best == nil {
			continue
		}
		ratio := c.value() / best.value()
		if res.lower {
			ratio = 1 / ratio
		}
		most = max(most, ratio)
	}
	return most
}

// drawChart writes the chart of the results as SVG: for each row the speed of each tool, the best peer being 1.
func drawChart(path string, results []*result) error {
	rows := slices.DeleteFunc(slices.Clone(results), func(res *result) bool {
		return !slices.Contains(charted, res.name) || res.relative(purr) == 0
	})
	if len(rows) == 0 {
		return fmt.Errorf("%s: no row of the chart has a result", path)
	}
	slices.Reverse(rows) // the axis begins below
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	p.BackgroundColor = color.White // of its own, so that it can be read on a dark page, too
	p.Title.Text = "Speed, the best of the other programs being 1 (longer is better)"
	p.Title.Padding = vg.Points(10)
	p.X.Min, p.X.Max = 0, chartMost+chartSpare
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 1, Label: "1"}, {Value: 2, Label: "2"},
		{Value: 3, Label: "3"}, {Value: chartMost, Label: "4 and more"}}
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
	p.Legend.XOffs = -vg.Points(6)
	p.Legend.Padding = vg.Points(2)
	for _, tool := range chartTools {
		names = append(names, tool.name)
	}
	return saveSVG(p, path, vg.Length(len(rows))*6*barWidth+2.5*vg.Centimeter, names)
}

// saveSVG writes the plot with a margin. The texts of right are those that end where something else begins.
func saveSVG(p *plot.Plot, path string, height vg.Length, right []string) error {
	const width, margin = 24 * vg.Centimeter, 8
	canvas, err := draw.NewFormattedCanvas(width, height, "svg")
	if err != nil {
		return err
	}
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	p.Draw(draw.Crop(dc, 4*margin, -margin, margin, -margin))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	return os.WriteFile(path, anchorRight(svg.Bytes(), right), 0o644)
}

// svgText is a piece of text as gonum writes it.
var svgText = regexp.MustCompile(`<text x="([^"]+)"([^>]*?)style="font-family:Liberation Sans;([^>]*?font-size:([0-9.]+)px)">([^<]*)</text>`)

// anchorRight fixes the right end of the texts before the bars and before the legend's colours instead of their left
// end, and names fonts that every viewer has: a viewer may not have the font that the text was laid out with, and a
// wider one must not run into the bars.
func anchorRight(svg []byte, texts []string) []byte {
	return svgText.ReplaceAllFunc(svg, func(found []byte) []byte {
		m := svgText.FindSubmatch(found)
		x, err1 := strconv.ParseFloat(string(m[1]), 64)
		size, err2 := strconv.ParseFloat(string(m[4]), 64)
		if err1 != nil || err2 != nil {
			return found
		}
		anchor := "start"
		if text := html.UnescapeString(string(m[5])); slices.Contains(texts, text) {
			anchor = "end"
			face := font.DefaultCache.Lookup(plot.DefaultFont, font.Points(size))
			x += face.Width(text).Points()
		}
		return fmt.Appendf(nil, `<text x="%.2f"%sstyle="text-anchor:%s;font-family:'Liberation Sans',Helvetica,Arial,sans-serif;%s">%s</text>`,
			x, m[2], anchor, m[3], m[5])
	})
}

// addBars adds the bars of each tool, the legend, and purr's figures.
func addBars(p *plot.Plot, rows []*result) error {
	middle := float64(len(chartTools)-1) / 2
	for i, tool := range chartTools {
		var values plotter.Values
		for _, res := range rows {
			values = append(values, min(res.relative(tool.name), chartMost))
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return err
		}
		bars.Horizontal = true
		bars.Color = tool.colour
		bars.LineStyle.Width = 0
		bars.Offset = barWidth * vg.Length(middle-float64(i))
		p.Add(bars)
		p.Legend.Add(tool.name, bars)
	}
	return addFigures(p, rows, barWidth*vg.Length(middle))
}

// addFigures writes purr's ratio and result behind its bar.
func addFigures(p *plot.Plot, rows []*result, offset vg.Length) error {
	var at plotter.XYLabels
	for i, res := range rows {
		ratio := res.relative(purr)
		at.XYs = append(at.XYs, plotter.XY{X: min(ratio, chartMost), Y: float64(i)})
		at.Labels = append(at.Labels, fmt.Sprintf("%.1f  (%s %s)", ratio, number3(res.purr().value()), res.unit))
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Color = chartTools[0].colour
		labels.TextStyle[i].YAlign = draw.YCenter
		labels.TextStyle[i].Font.Size = vg.Points(8)
	}
	labels.Offset = vg.Point{X: vg.Points(3), Y: offset}
	p.Add(labels)
	return nil
}
