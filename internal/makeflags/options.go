package makeflags

import "strings"

// takes is what an option with no argument attached to it takes from the next word.
type takes int

const (
	none     takes = iota
	attached       // nothing: an argument, if any, is attached
	required       // the next word, whatever it is
	count          // the next word if it is all digits
	number         // the next word if it begins as a number
)

// isIn says whether the first of words is what is taken.
func (t takes) isIn(words []word) bool {
	if len(words) == 0 {
		return false
	}
	text := words[0].text
	switch t {
	case required:
		return true
	case count:
		return strings.Trim(text, "0123456789") == ""
	case number:
		return text != "" && strings.Contains(".0123456789", text[:1])
	}
	return false
}

// shortOptions are the letters that have an argument. The job count, j, is handled where it is found.
var shortOptions = [256]takes{
	'C': required, 'E': required, 'f': required, 'I': required, 'o': required, 'W': required,
	'l': number, 'O': attached,
}

// longOptions are all the long names make 4.3 and 4.4.1 know: a name may be cut short as long as it is one option's only.
var longOptions = func() map[string]takes {
	m := make(map[string]takes)
	for t, names := range map[takes]string{
		none: `always-make check-symlink-times debug dry-run environment-overrides help ignore-errors just-print
			keep-going no-builtin-rules no-builtin-variables no-keep-going no-print-directory no-silent output-sync
			print-data-base print-directory question quiet recon shuffle silent stop touch trace version
			warn-undefined-variables`,
		required: `assume-new assume-old directory eval file include-dir jobserver-auth jobserver-fds jobserver-style
			makefile new-file old-file sync-mutex temp-stdin what-if`,
		count:  `jobs`,
		number: `load-average max-load`,
	} {
		for _, name := range strings.Fields(names) {
			m[name] = t
		}
	}
	return m
}()

// longOption completes name and says what it takes. An unknown or ambiguous name, which make refuses, takes nothing.
func longOption(name string) (string, takes) {
	if t, ok := longOptions[name]; ok {
		return name, t
	}
	full := ""
	for n := range longOptions {
		if strings.HasPrefix(n, name) {
			if full != "" {
				return name, none
			}
			full = n
		}
	}
	return full, longOptions[full]
}
