package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sick says whether something is wrong.
func Sick(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == Problem })
}

// Text prints findings for people, a line each, and one with the fix.
func Text(w io.Writer, found []Finding) error {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s: %s\n", f.Severity, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "    to do: %s\n", f.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// schema is the version of the JSON form. It grows when a field is taken away or means something else, not when one is
// added.
const schema = 1

type jsonFinding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Fix      *string  `json:"fix"`
}

// JSON prints findings as one JSON object, described in stevie(1).
func JSON(w io.Writer, found []Finding) error {
	out := struct {
		Schema   int           `json:"schema"`
		OK       bool          `json:"ok"`
		Findings []jsonFinding `json:"findings"`
	}{schema, !Sick(found), []jsonFinding{}}
	for _, f := range found {
		j := jsonFinding{ID: f.ID, Severity: f.Severity, Text: f.Text}
		if f.Fix != "" {
			j.Fix = &f.Fix
		}
		out.Findings = append(out.Findings, j)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}
