// Package makeflags reads and composes MAKEFLAGS, the variable in which make hands its options, and with them the
// jobserver, to the programs below it.
//
// Values are taken apart as GNU make 4.3 and 4.4.1 do it (decode_env_switches, decode_switches and the table of
// switches in src/main.c), up to one thing: "$" is not expanded. What else the environment holds, and which jobserver
// to use, is the caller's business.
package makeflags

import "strings"

// Compose returns value, a MAKEFLAGS, changed to make its readers clients of the jobserver auth: "fifo:PATH", or "R,W"
// for inherited descriptors. Job counts and other jobservers are taken out, everything else stays. Variable definitions
// come last, behind "--", as make writes them: make takes an option behind that for a goal or a variable.
//
// The result begins with a dash. ninja and LLVM look for an n, make's dry run, in a first word that has none, and make
// reads such a word as options too, so that "n" and "-n" say the same.
func Compose(value, auth string) string {
	return compose(value, "--jobserver-auth="+auth)
}

// Clean returns value without job counts and jobservers, for the other variables that carry make's options:
// GNUMAKEFLAGS and MFLAGS.
func Clean(value string) string {
	return compose(value, "")
}

// Auth returns the jobserver that make finds in value, "fifo:PATH" or "R,W": the last one counts, by whichever of its
// two names. It is empty where there is none.
func Auth(value string) string {
	auth := ""
	for _, w := range scan(split(value)) {
		if w.kind == jobserver {
			auth = w.arg
		}
	}
	return auth
}

// Jobs returns the job counts in value, of which make heeds the last, and none of them beside a jobserver.
func Jobs(value string) []string {
	var counts []string
	for _, w := range scan(split(value)) {
		if w.jobs != "" {
			counts = append(counts, w.jobs)
		}
	}
	return counts
}

// StripJobs takes the job count out of args, the arguments of a make, which would make it leave the jobserver
// ("warning: -jN forced in submake: resetting jobserver mode"). Removed is what was taken out, as make would read it.
func StripJobs(args []string) (kept, removed []string) {
	words := make([]word, len(args))
	for i, a := range args {
		words[i] = word{text: a}
	}
	for _, w := range scan(words) {
		if w.jobs != "" {
			removed = append(removed, w.jobs)
		}
		if w.kind != jobs {
			kept = append(kept, w.text)
		}
	}
	return kept, removed
}

func compose(value, auth string) string {
	var flags, operands []string
	for _, w := range scan(split(value)) {
		switch w.kind {
		case option:
			// The dash bare: readers other than make know of no backslash.
			flags = append(flags, strings.TrimPrefix(w.raw, `\`))
		case argument:
			flags = append(flags, w.raw)
		case operand:
			// No option for make where it stands, but one for all those who look for it anywhere.
			if !strings.HasPrefix(w.text, "--jobserver-auth=") && !strings.HasPrefix(w.text, "--jobserver-fds=") {
				operands = append(operands, w.raw)
			}
		}
	}
	if auth != "" {
		flags = append(flags, auth)
	}
	if len(operands) > 0 {
		flags = append(append(flags, "--"), operands...)
	}
	return strings.Join(flags, " ")
}

// A word of a MAKEFLAGS or of a command line.
type word struct {
	raw  string // as it stands in the variable, with its backslashes; unused on a command line
	text string // what make reads
	kind kind
	arg  string // of kind jobserver
	jobs string // the job count that was taken out of this word
}

// A kind is the part a word plays. The zero kind is one that make refuses.
type kind int

const (
	dangling  kind = iota // an option whose argument is missing
	option                // one or more options, with an argument attached or not
	argument              // the argument of the option before
	operand               // a variable definition or a goal
	separator             // "--"
	jobs                  // a job count and nothing else
	jobserver             // a jobserver, or its argument
)

// split takes a value apart at its blanks. A backslash takes the meaning from the character behind it. The first word
// may be options without their dash and is given it.
func split(value string) []word {
	// make skips more before the first word than between two.
	value = strings.TrimLeft(value, " \t\n\v\f\r")
	var words []word
	for value != "" {
		var text []byte
		i := 0
		for ; i < len(value) && value[i] != ' ' && value[i] != '\t'; i++ {
			if value[i] == '\\' && i+1 < len(value) {
				i++
			}
			text = append(text, value[i])
		}
		raw := value[:i]
		if i > 0 && i == len(value) && oddBackslashes(raw) {
			// It stood for itself as the last character; it will not be the last any more.
			raw += `\`
		}
		words = append(words, word{raw: raw, text: string(text)})
		value = strings.TrimLeft(value[i:], " \t")
	}
	if len(words) > 0 {
		first := &words[0]
		if !strings.HasPrefix(first.text, "-") && !strings.Contains(first.text, "=") {
			first.raw, first.text = "-"+first.raw, "-"+first.text
		}
	}
	return words
}

func oddBackslashes(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// quote is the inverse of split for one word.
func quote(text string) string {
	return strings.NewReplacer(`\`, `\\`, " ", `\ `, "\t", "\\\t").Replace(text)
}

// scan returns words with their kinds, and with the job counts taken out of those that say more than that.
func scan(words []word) []word {
	for i := 0; i < len(words); i++ {
		w := &words[i]
		switch {
		case w.text == "--":
			w.kind = separator
			for j := i + 1; j < len(words); j++ {
				words[j].kind = operand
			}
			return words
		case w.text == "-" || !strings.HasPrefix(w.text, "-"):
			w.kind = operand
			continue
		}

		w.kind = option
		takes := none
		if name, isLong := strings.CutPrefix(w.text, "--"); isLong {
			takes = w.scanLong(name)
		} else {
			takes = w.scanShort()
		}
		if !takes.isIn(words[i+1:]) {
			if takes == required {
				w.kind = dangling
			}
			continue
		}
		i++
		next := &words[i]
		next.kind = argument
		switch {
		case w.kind == jobserver:
			next.kind, next.arg = jobserver, next.text
		case takes == count:
			w.jobs += " " + next.text
			next.kind = jobs
		}
	}
	return words
}

// scanLong looks at one long option and says what it takes from the next word.
func (w *word) scanLong(name string) takes {
	name, arg, attached := strings.Cut(name, "=")
	name, t := longOption(name)
	switch name {
	case "jobs":
		w.kind, w.jobs = jobs, w.text
	case "jobserver-auth", "jobserver-fds":
		w.kind, w.arg = jobserver, arg
	}
	if attached {
		return none
	}
	return t
}

// scanShort looks at a dash and its letters, takes the job count out and says what the last one takes from the next word.
func (w *word) scanShort() takes {
	t := none
	kept := []byte{'-'}
	letters := w.text[1:]
	for letters != "" && t == none {
		c := letters[0]
		letters = letters[1:]
		if c == 'j' {
			rest := strings.TrimLeft(letters, "0123456789")
			w.jobs = "-j" + letters[:len(letters)-len(rest)]
			if letters == "" {
				t = count
			}
			letters = rest
			continue
		}
		if c == '-' {
			continue // no option, and next to the dash it would make the word another one
		}
		kept = append(kept, c)
		if t = shortOptions[c]; t != none && letters != "" {
			// The rest is its argument.
			kept = append(kept, letters...)
			t = none
			break
		}
	}
	switch {
	case w.jobs == "":
	case len(kept) == 1:
		w.kind = jobs
	default:
		w.text = string(kept)
		w.raw = quote(w.text)
	}
	return t
}
