package chart

import (
	"fmt"
	"math"
)

// Bars are groups of bars side by side.
type Bars struct {
	Title, Y string   // Y is what the axis counts, with the unit
	Names    []string // the legend, one colour each
	Groups   []Group
	Limit    float64 // a horizontal line, 0 for none
}

// A Group is bars at one place on the x axis.
type Group struct {
	Name   string
	Values []float64 // one for each of Names; NaN for none
}

// SVG draws the bars, each with its value above it.
func (b Bars) SVG() []byte {
	const top, inner = head, 280.0
	d := newDrawing(top + inner + foot - 16)
	names := b.Names
	if len(names) == 1 {
		names = nil
	}
	d.head(0, b.Title, names)
	ys := span{0, b.Limit, false}
	for _, g := range b.Groups {
		for _, v := range g.Values {
			if !math.IsNaN(v) {
				ys.to = max(ys.to, v)
			}
		}
	}
	if ys.to == 0 {
		ys.to = 1
	}
	ys.to *= 1.08 // room for the values
	toY := d.valueAxis(top, inner, b.Y, ys)
	group := float64(width-left-right) / float64(max(len(b.Groups), 1))
	bar := min(group*0.84/float64(max(len(b.Names), 1)), 60)
	for i, g := range b.Groups {
		middle := left + (float64(i)+0.5)*group
		d.text(middle, top+inner+17, "middle", g.Name)
		x := middle - bar*float64(len(g.Values))/2
		for j, v := range g.Values {
			if !math.IsNaN(v) {
				fmt.Fprintf(d, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
					x+1, toY(v), bar-2, toY(0)-toY(v), colour(j))
				fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="%.0f">%s</text>`+"\n",
					x+bar/2, toY(v)-3, min(11, max(bar/3, 7)), short(v))
			}
			x += bar
		}
	}
	d.limit(b.Limit, toY)
	return d.end()
}

// short prints a value with about three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
