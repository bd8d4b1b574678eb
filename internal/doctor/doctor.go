// Package doctor says what keeps the builds of this machine and this environment from sharing one steve's tokens, and what
// to do about it.
//
// Facts are gathered first, then judged, so that every judgement can be tried without the machine it is about. What stevie
// does about any of it when it runs a command is for package client.
package doctor

import "slices"

// A Severity tells findings that want something done from those that do not.
type Severity string

// Severities, the worst first.
const (
	Problem Severity = "problem" // some build will not share
	Note    Severity = "note"    // worth to know, and no harm as things are
	OK      Severity = "ok"      // as it should be
)

// A Finding is one result.
type Finding struct {
	// ID names what was found, for programs: it stays when the text changes.
	ID       string
	Severity Severity
	// Text is one sentence without a full stop, Fix what to do, empty where nothing is.
	Text, Fix string
}

func problem(id, text, fix string) Finding { return Finding{id, Problem, text, fix} }
func note(id, text, fix string) Finding    { return Finding{id, Note, text, fix} }
func ok(id, text string) Finding           { return Finding{id, OK, text, ""} }

// Examine judges facts. The worst findings come first.
func Examine(f Facts) []Finding {
	var found []Finding
	for _, check := range []func(Facts) []Finding{
		checkTokenFile, checkRootFile, checkCUSE,
		checkJobserver, checkCargo,
		checkMakeJobs, checkPortage, checkCMake, checkUnread,
		checkPrograms, checkSccache,
	} {
		found = append(found, check(f)...)
	}
	order := []Severity{Problem, Note, OK}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return found
}
