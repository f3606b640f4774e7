package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	canvas "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes of one picture. The legend is right of the bars.
const (
	width, height = 18 * vg.Centimeter, 7.5 * vg.Centimeter
	legendWidth   = 6 * vg.Centimeter
	margin        = 0.4 * vg.Centimeter
	columns       = 2
)

// palette tells contenders apart, also for those who do not see all colours (Okabe and Ito, 2008).
var palette = []color.RGBA{
	{0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xe6, 0x9f, 0x00, 0xff},
	{0xcc, 0x79, 0xa7, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x55, 0x55, 0x55, 0xff}, {0x00, 0x00, 0x00, 0xff}, {0xf0, 0xe4, 0x42, 0xff},
}

// draw writes all scenarios into one file.
func draw(scenarios []scenario, path string) (err error) {
	lines := (len(scenarios) + columns - 1) / columns
	image := vgsvg.New(width*columns, height*vg.Length(lines))
	whole := canvas.New(image)
	whole.SetColor(color.White) // for pages that are dark
	whole.Fill(whole.Rectangle.Path())
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	var all colors
	for i, s := range scenarios {
		left, top := width*vg.Length(i%columns), height*vg.Length(lines-i/columns)
		tile := canvas.Canvas{Canvas: whole, Rectangle: vg.Rectangle{Min: vg.Point{X: left, Y: top - height}, Max: vg.Point{X: left + width, Y: top}}}
		if err := s.draw(canvas.Crop(tile, margin, -margin, margin, -margin), &all); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = image.WriteTo(file)
	return errors.Join(err, file.Close())
}

// colors gives each contender one colour in all pictures, and its variants in one picture lighter ones.
type colors struct {
	families []string
}

// family is a contender without its variant.
func family(contender string) string {
	name, _, _ := strings.Cut(contender, ",")
	return name
}

// of returns the colours of the contenders in one picture.
func (c *colors) of(contenders []string) []color.Color {
	var result []color.Color
	variants := map[string]int{}
	for _, name := range contenders {
		name = family(name)
		at := slices.Index(c.families, name)
		if at < 0 {
			at = len(c.families)
			c.families = append(c.families, name)
		}
		result = append(result, lighter(palette[at%len(palette)], variants[name]))
		variants[name]++
	}
	return result
}

// lighter mixes a colour with white.
func lighter(c color.RGBA, times int) color.Color {
	for _, part := range []*uint8{&c.R, &c.G, &c.B} {
		for range times {
			*part += (255 - *part) / 2
		}
	}
	return c
}

// draw draws groups of bars, one for each case, with a bar for each contender: the median, and a line from the lowest to the
// highest.
func (s scenario) draw(c canvas.Canvas, all *colors) error {
	var cases, contenders []string
	for _, r := range s.Rows {
		if len(r.values(s.Plot)) == 0 {
			continue
		}
		if !slices.Contains(cases, r.Case) {
			cases = append(cases, r.Case)
		}
		if !slices.Contains(contenders, r.Contender) {
			contenders = append(contenders, r.Contender)
		}
	}
	p := plot.New()
	p.Title.Text = s.ID + ": " + s.Title
	p.Y.Label.Text = s.Plot
	p.Y.Min = 0
	p.Y.Tick.Marker = plot.TickerFunc(ticks)
	p.NominalX(cases...)
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.YPosition = true, true, canvas.PosCenter
	legend.TextStyle.Font.Size, legend.Padding = vg.Points(8), vg.Points(3)
	room := (c.Max.X - c.Min.X - legendWidth) * 0.72
	bar := room / vg.Length(len(cases)*len(contenders))
	shades := all.of(contenders)
	for i, name := range contenders {
		bars, spread, err := s.series(name, cases)
		if err != nil {
			return err
		}
		bars.Width = bar
		bars.Offset = bar * (vg.Length(i) - vg.Length(len(contenders)-1)/2)
		bars.Color = shades[i]
		bars.LineStyle.Width = 0
		spread.offset, spread.CapWidth = bars.Offset, bar/2
		p.Add(bars, spread)
		legend.Add(name, bars)
	}
	p.Draw(canvas.Crop(c, 0, -legendWidth, 0, 0))
	legend.Draw(canvas.Crop(c, c.Max.X-c.Min.X-legendWidth+margin, 0, 0, -margin*2))
	return nil
}

// ticks writes numbers as short as they are.
func ticks(low, high float64) []plot.Tick {
	marks := plot.DefaultTicks{}.Ticks(low, high)
	for i, m := range marks {
		if m.Label != "" {
			marks[i].Label = strconv.FormatFloat(m.Value, 'f', -1, 64)
		}
	}
	return marks
}

// series returns the bars of one contender, 0 where it has no value, and their spread.
func (s scenario) series(contender string, cases []string) (*plotter.BarChart, *shifted, error) {
	medians := make(plotter.Values, len(cases))
	var points errorPoints
	for i, label := range cases {
		for _, r := range s.Rows {
			values := r.values(s.Plot)
			if r.Case != label || r.Contender != contender || len(values) == 0 {
				continue
			}
			n := len(values)
			middle := (values[(n-1)/2] + values[n/2]) / 2
			medians[i] = middle
			points.XYs = append(points.XYs, plotter.XY{X: float64(i), Y: middle})
			points.YErrors = append(points.YErrors, struct{ Low, High float64 }{math.Min(0, values[0]-middle), values[n-1] - middle})
		}
	}
	bars, err := plotter.NewBarChart(medians, 1)
	if err != nil {
		return nil, nil, err
	}
	spread, err := plotter.NewYErrorBars(points)
	if err != nil {
		return nil, nil, err
	}
	return bars, &shifted{YErrorBars: spread}, nil
}

// errorPoints is what plotter.NewYErrorBars takes.
type errorPoints struct {
	plotter.XYs
	plotter.YErrors
}

// shifted is error bars beside the place that their x means, as the bars are.
type shifted struct {
	*plotter.YErrorBars
	offset vg.Length
}

// Plot draws them.
func (b *shifted) Plot(c canvas.Canvas, p *plot.Plot) {
	c.Push()
	c.Translate(vg.Point{X: b.offset})
	b.YErrorBars.Plot(c, p)
	c.Pop()
}
