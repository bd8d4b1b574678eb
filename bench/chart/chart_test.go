package chart

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elements are those of a document, which must be well-formed, with their attributes; and all its text.
func elements(t *testing.T, svg []byte) (found map[string][]map[string]string, text []string) {
	t.Helper()
	found = map[string][]map[string]string{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return found, text
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			attributes := map[string]string{}
			for _, a := range e.Attr {
				attributes[a.Name.Local] = a.Value
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s=%q of %s", a.Name.Local, a.Value, e.Name.Local)
				}
			}
			found[e.Name.Local] = append(found[e.Name.Local], attributes)
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" {
				text = append(text, s)
			}
		}
	}
}

func value(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMarks(t *testing.T) {
	svg := SVG(Plot{
		Title: "a < b & c", X: "clients", Y: "µs", LogX: true, Limit: 1.05,
		Series: []Series{{"one", []Point{{1, 3}, {2, 4}, {16, 9}}}, {`"two"`, []Point{{1, 1}}}},
	})
	found, text := elements(t, svg)
	if n := len(found["circle"]); n != 4 {
		t.Errorf("%d marks for 4 points", n)
	}
	for _, want := range []string{"a < b & c", "clients", "µs", "one", `"two"`, "1", "2", "16"} {
		if !slices.Contains(text, want) {
			t.Errorf("no text %q among %q", want, text)
		}
	}
	limits := 0
	for _, l := range found["line"] {
		if l["class"] == "limit" {
			limits++
		}
	}
	if limits != 1 {
		t.Errorf("%d lines for the limit", limits)
	}
	if fill := found["rect"][0]["fill"]; fill != "#fff" {
		t.Errorf("the background is %q", fill)
	}
}

// Twice the value is twice as high, also in a plot beside one with greater values.
func TestScale(t *testing.T) {
	low := Plot{X: "s", Y: "jobs", Series: []Series{{Points: []Point{{0, 0}, {5, 2}}}}}
	high := Plot{X: "s", Y: "jobs", Series: []Series{{Points: []Point{{0, 0}, {10, 4}}}}}
	found, _ := elements(t, SVG(low, high))
	var x, rise []float64
	for i := 0; i < 4; i += 2 {
		zero, top := found["circle"][i], found["circle"][i+1]
		x = append(x, value(t, top["cx"])-value(t, zero["cx"]))
		rise = append(rise, value(t, zero["cy"])-value(t, top["cy"]))
	}
	if math.Abs(rise[1]/rise[0]-2) > 0.01 || math.Abs(x[1]/x[0]-2) > 0.01 {
		t.Errorf("heights %v, widths %v, want the second twice the first", rise, x)
	}
	low.Y = "waiters"
	found, _ = elements(t, SVG(low, high))
	if a, b := value(t, found["circle"][1]["cy"]), value(t, found["circle"][3]["cy"]); math.Abs(b-a-(head+150+foot)) > 0.1 {
		t.Errorf("tops at %v and %v: axes of another name have not their own range", a, b)
	}
}

func TestSteps(t *testing.T) {
	found, text := elements(t, SVG(Plot{Step: true, X: "s", Series: []Series{{Points: []Point{{0, 1}, {1, 2}, {4, 0}}}}}))
	if len(found["path"]) != 1 || len(found["circle"]) != 0 {
		t.Fatalf("%d paths, %d circles", len(found["path"]), len(found["circle"]))
	}
	if way := found["path"][0]["d"]; strings.Count(way, "H") != 3 || strings.Count(way, "V") != 3 {
		t.Errorf("3 steps are drawn as %q", way)
	}
	if !slices.Contains(text, "4") {
		t.Errorf("text %q", text)
	}
}

func TestBars(t *testing.T) {
	b := Bars{Title: "T", Y: "s", Names: []string{"a", "b"}, Limit: 2, Groups: []Group{
		{"one & only", []float64{1, 2}},
		{"two", []float64{math.NaN(), 4}},
	}}
	found, text := elements(t, b.SVG())
	var heights []float64
	for _, r := range found["rect"] {
		if r["class"] == "bar" {
			heights = append(heights, value(t, r["height"]))
		}
	}
	if len(heights) != 3 || math.Abs(heights[2]/heights[0]-4) > 0.02 {
		t.Errorf("bars of 1, 2 and 4 are %v high", heights)
	}
	for _, want := range []string{"one & only", "two", "a", "b", "1.00", "4.00"} {
		if !slices.Contains(text, want) {
			t.Errorf("no text %q among %q", want, text)
		}
	}
}

// What has no value at all is still a drawing.
func TestEmpty(t *testing.T) {
	elements(t, SVG())
	elements(t, SVG(Plot{Title: "none", Series: []Series{{}}}, Plot{Step: true, Series: []Series{{}}}))
	elements(t, SVG(Plot{Series: []Series{{Points: []Point{{3, 0}}}}}))
	elements(t, Bars{}.SVG())
	elements(t, Bars{Names: []string{"a"}, Groups: []Group{{"g", []float64{math.NaN()}}}}.SVG())
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		span span
		want []float64
	}{
		{span{0, 10, false}, []float64{0, 2, 4, 6, 8, 10}},
		{span{0, 1.05, false}, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{span{0, 47, false}, []float64{0, 10, 20, 30, 40}},
		{span{5, 5, false}, []float64{5}},
	} {
		var got []float64
		for _, v := range test.span.ticks(6) {
			got = append(got, math.Round(v*1e9)/1e9)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.span, got, test.want)
		}
	}
}
