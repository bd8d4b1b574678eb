// Package chart draws figures as SVG: lines and steps over an axis, and groups of bars. It knows nothing of what they stand
// for. Values are finite and not negative, and every value axis begins at zero: what is twice as high is twice as much.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A Point is one value Y at X.
type Point struct{ X, Y float64 }

// A Series is a line, or where the plot has steps a staircase, through its points in their order.
type Series struct {
	Name   string // in the legend; a plot of one series without a name has none
	Points []Point
}

// A Plot is a pair of axes with series.
type Plot struct {
	Title, X, Y string // X and Y are what the axes count, with the unit
	Series      []Series
	Step        bool    // a value holds up to the next point
	LogX        bool    // every X is more than zero
	Limit       float64 // a horizontal line, 0 for none
}

// What a drawing measures, in pixels.
const (
	width  = 760
	left   = 60
	right  = 24
	head   = 52 // above the axes: title and legend
	foot   = 46 // below them: the names of ticks and axis
	letter = 6.6
)

// colours tell series apart, on white, for the colour-blind too.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5c00", "#56b4e9", "#000000"}

func colour(i int) string { return colours[i%len(colours)] }

// SVG draws plots one above another. Those that name an axis alike have the same range on it.
func SVG(plots ...Plot) []byte {
	inner := 150.0
	if len(plots) == 1 {
		inner = 280
	}
	each := head + inner + foot
	d := newDrawing(each * float64(len(plots)))
	for i, p := range plots {
		x, y := p.ranges()
		for _, other := range plots {
			ox, oy := other.ranges()
			if other.X == p.X && other.LogX == p.LogX {
				x = span{min(x.from, ox.from), max(x.to, ox.to), x.log}
			}
			if other.Y == p.Y {
				y.to = max(y.to, oy.to)
			}
		}
		p.draw(d, float64(i)*each+head, inner, x, y)
	}
	return d.end()
}

// ranges are those of a plot alone. Without a value they are from 0 to 1.
func (p Plot) ranges() (x, y span) {
	x, y = span{math.Inf(1), math.Inf(-1), p.LogX}, span{0, p.Limit, false}
	for _, s := range p.Series {
		for _, at := range s.Points {
			x.from, x.to = min(x.from, at.X), max(x.to, at.X)
			y.to = max(y.to, at.Y)
		}
	}
	if !p.LogX && x.from > 0 && x.from < x.to/3 {
		x.from = 0
	}
	if x.from > x.to {
		x.from, x.to = 0, 1
	}
	if y.to == 0 {
		y.to = 1
	}
	return x, y
}

// draw puts a plot's axes between top and top+inner.
func (p Plot) draw(d *drawing, top, inner float64, xs, ys span) {
	var names []string
	for _, s := range p.Series {
		names = append(names, s.Name)
	}
	d.head(top-head, p.Title, names)
	ys.to *= 1.05
	toY := d.valueAxis(top, inner, p.Y, ys)
	toX := func(x float64) float64 { return left + xs.at(x)*(width-left-right) }
	ticks := xs.ticks(8)
	if p.LogX {
		ticks = p.values()
	}
	for _, x := range ticks {
		d.line(toX(x), top+inner, toX(x), top+inner+4, `stroke="#444"`)
		d.text(toX(x), top+inner+17, "middle", number(x))
	}
	d.text(left+(width-left-right)/2, top+inner+34, "middle", p.X)
	for i, s := range p.Series {
		if p.Step {
			d.steps(s.Points, toX, toY, xs.to, colour(i))
		} else {
			d.markedLine(s.Points, toX, toY, colour(i))
		}
	}
	d.limit(p.Limit, toY)
}

// values are those on the x axis where there are few, else the powers of ten among them.
func (p Plot) values() []float64 {
	var all, tens []float64
	for _, s := range p.Series {
		for _, at := range s.Points {
			all = append(all, at.X)
			if math.Pow(10, math.Round(math.Log10(at.X))) == at.X {
				tens = append(tens, at.X)
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) <= 12 {
		return all
	}
	slices.Sort(tens)
	return slices.Compact(tens)
}

// A span is the range of an axis.
type span struct {
	from, to float64
	log      bool
}

// at is where a value is between from, 0, and to, 1.
func (s span) at(v float64) float64 {
	if s.from == s.to {
		return 0.5
	}
	if s.log {
		return math.Log(v/s.from) / math.Log(s.to/s.from)
	}
	return (v - s.from) / (s.to - s.from)
}

// ticks are multiples of 1, 2 or 5 times a power of ten, at most so many.
func (s span) ticks(most int) []float64 {
	if s.from == s.to {
		return []float64{s.from}
	}
	step := math.Pow(10, math.Floor(math.Log10((s.to-s.from)/float64(most))))
	for i := 0; (s.to-s.from)/step > float64(most); i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	var ticks []float64
	for i := math.Ceil(s.from / step); i*step <= s.to; i++ {
		ticks = append(ticks, i*step)
	}
	return ticks
}

// number prints what a tick says, without the digits that come from adding up steps.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64) }

// A drawing is an SVG that is being written.
type drawing struct{ bytes.Buffer }

// newDrawing begins one, with a background of its own: what shows it may be dark.
func newDrawing(height float64) *drawing {
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %[1]d %.0[2]f"`+
		` font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, height)
	d.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	return d
}

func (d *drawing) end() []byte {
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// head writes a title, and under it a legend unless it would say nothing.
func (d *drawing) head(top float64, title string, names []string) {
	fmt.Fprintf(d, `<text x="%d" y="%.1f" font-size="14" font-weight="bold">%s</text>`+"\n", left, top+20, escaped(title))
	if len(names) == 0 || len(names) == 1 && names[0] == "" {
		return
	}
	x := float64(left)
	for i, name := range names {
		fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="10" height="10" fill="%s"/>`+"\n", x, top+30, colour(i))
		d.text(x+14, top+39, "start", name)
		x += 14 + letter*float64(len([]rune(name))) + 18
	}
}

// valueAxis draws the y axis with its grid, and returns where values are.
func (d *drawing) valueAxis(top, inner float64, name string, ys span) func(float64) float64 {
	toY := func(y float64) float64 { return top + inner - ys.at(y)*inner }
	for _, y := range ys.ticks(8) {
		d.line(left, toY(y), width-right, toY(y), `stroke="#ddd"`)
		d.text(left-6, toY(y)+4, "end", number(y))
	}
	d.line(left, toY(0), width-right, toY(0), `stroke="#444"`)
	fmt.Fprintf(d, `<text transform="translate(16 %.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+inner/2, escaped(name))
	return toY
}

// limit draws a horizontal line at a value that is not 0.
func (d *drawing) limit(v float64, toY func(float64) float64) {
	if v != 0 {
		d.line(left, toY(v), width-right, toY(v), `stroke="#222" stroke-dasharray="5 4" class="limit"`)
	}
}

func (d *drawing) line(x1, y1, x2, y2 float64, how string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, how)
}

func (d *drawing) text(x, y float64, anchor, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, escaped(text))
}

func (d *drawing) markedLine(points []Point, toX, toY func(float64) float64, colour string) {
	d.WriteString(`<polyline fill="none" stroke-width="2" stroke="` + colour + `" points="`)
	for _, at := range points {
		fmt.Fprintf(d, "%.1f,%.1f ", toX(at.X), toY(at.Y))
	}
	d.WriteString("\"/>\n")
	for _, at := range points {
		fmt.Fprintf(d, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", toX(at.X), toY(at.Y), colour)
	}
}

// steps draws a staircase, filled down to zero.
func (d *drawing) steps(points []Point, toX, toY func(float64) float64, end float64, colour string) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(d, `<path stroke="%s" stroke-width="0.8" fill="%[1]s" fill-opacity="0.25" d="M%.1f %.1f`, colour, toX(points[0].X), toY(0))
	for _, at := range points {
		fmt.Fprintf(d, "H%.1fV%.1f", toX(at.X), toY(at.Y))
	}
	last := points[len(points)-1]
	if last.Y != 0 {
		fmt.Fprintf(d, "H%.1fV%.1f", toX(end), toY(0))
	}
	d.WriteString("\"/>\n")
}

func escaped(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text)) // a Buffer does not fail
	return b.String()
}
