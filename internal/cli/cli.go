// Package cli is what the command lines of steve and stevie have in common: getopt_long's rules, and errors that carry
// an exit status up to main, the only place that exits.
//
// Options themselves, their values and their texts belong to the programs.
package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// A FlagSet is a pflag.FlagSet that parses as getopt_long does in POSIX order: options end at the first word that is
// none, or at "--", and a long name may be cut short as long as it names one option only.
//
// Define all options before Parse. Nothing is printed: errors come back, and -h and --help are options like any other.
type FlagSet struct {
	*pflag.FlagSet
}

// NewFlagSet returns an empty set of options for the program of that name.
func NewFlagSet(name string) *FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.SortFlags = false
	f.Usage = func() {}
	return &FlagSet{f}
}

// Parse parses args, which do not begin with the program's name. Its errors are one line fit for a user, and an
// *OptionError where an option that there is was used wrongly.
func (f *FlagSet) Parse(args []string) error {
	var names []string
	f.VisitAll(func(o *pflag.Flag) { names = append(names, o.Name) })

	// pflag looks every name up in normalized form, which makes this the place to complete one. A prefix of several
	// names stays as it is and fails there as unknown; what it might have meant is kept for the message.
	var meant []string
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		found := complete(names, name)
		if len(found) == 1 {
			return pflag.NormalizedName(found[0])
		}
		meant = found
		return pflag.NormalizedName(name)
	})
	err := f.FlagSet.Parse(args)
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" && len(meant) > 1 {
		return fmt.Errorf("option --%s is ambiguous: --%s", unknown.GetSpecifiedName(), strings.Join(meant, ", --"))
	}
	return f.explain(err)
}

// complete returns the names that name may stand for: itself, or all those it begins.
func complete(names []string, name string) []string {
	var found []string
	for _, n := range names {
		if n == name {
			return []string{n}
		}
		if strings.HasPrefix(n, name) {
			found = append(found, n)
		}
	}
	return found
}

// explain words pflag's errors as a user sees options.
func (f *FlagSet) explain(err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("unknown option %s, see %s --help",
			dashed(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()), f.Name())
	case errors.As(err, &missing):
		return &OptionError{missing.GetFlag().Name,
			fmt.Errorf("option %s needs a value", dashed(missing.GetSpecifiedName(), missing.GetSpecifiedShortnames()))}
	case errors.As(err, &invalid):
		name := invalid.GetFlag().Name
		return &OptionError{name, fmt.Errorf("--%s: %w", name, whatIsAllowed(invalid))}
	}
	return err
}

// An OptionError says what is wrong with the value of an option.
type OptionError struct {
	// Name is the option's long name, in full and without dashes.
	Name string
	Err  error
}

func (e *OptionError) Error() string { return e.Err.Error() }

func (e *OptionError) Unwrap() error { return e.Err }

func dashed(name, shorthands string) string {
	if shorthands != "" {
		return "-" + name
	}
	return "--" + name
}

// whatIsAllowed turns the errors of strconv, which speak of parsing, into one that says what would do. The error of an
// option with a parser of its own is passed on.
func whatIsAllowed(e *pflag.InvalidValueError) error {
	var number *strconv.NumError
	switch {
	case e.GetFlag().Value.Type() == "bool":
		return errors.New("takes no value")
	case errors.As(e, &number):
		return fmt.Errorf("%q is not a number", e.GetValue())
	}
	return e.Unwrap()
}

// Decimal returns an option's value that is kept in p. It takes 010 for ten, where pflag's own sees octal eight.
func Decimal[T int | int64](p *T) pflag.Value { return &decimal[T]{p} }

type decimal[T int | int64] struct{ p *T }

func (d *decimal[T]) Set(v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || int64(T(n)) != n {
		return fmt.Errorf("%q is not a whole number, or too large", v)
	}
	*d.p = T(n)
	return nil
}

func (d *decimal[T]) String() string { return strconv.FormatInt(int64(*d.p), 10) }

// Type is also what a help text calls the value.
func (d *decimal[T]) Type() string { return "int" }

// An ExitError is an error that says with which status the program is to exit.
type ExitError struct {
	// Status is the exit status, 0 to 255.
	Status int
	// Err is what to tell the user; nil if there is nothing left to say.
	Err error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Errorf returns an ExitError of the given status with fmt.Errorf's text.
func Errorf(status int, format string, args ...any) error {
	return &ExitError{Status: status, Err: fmt.Errorf(format, args...)}
}

// Status is the exit status that err asks for: 0 for nil, otherwise for an error that does not say.
func Status(err error, otherwise int) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Status
	}
	return otherwise
}
