package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keywicket/keywicket/core/config"
)

// onceEach makes a second use of a flag of the set an error.
func onceEach(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		switch f.Value.(type) {
		case *once, pflag.SliceValue:
		default:
			f.Value = &once{Value: f.Value}
		}
	})
}

// once is a flag's value that can be set one time.
type once struct {
	pflag.Value
	set bool
}

// Set sets the value, if it was not set before.
func (o *once) Set(text string) error {
	if o.set {
		return errors.New("it was given already")
	}
	o.set = true
	return o.Value.Set(text)
}

// IsBoolFlag lets a bool stand without a value.
func (o *once) IsBoolFlag() bool { return o.Type() == "bool" }

// nearFlag adds to the error about a flag that there is not the one that was meant:
// also where it has one hyphen, which makes letters of it.
func nearFlag(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) {
		return err
	}
	typed := missing.GetSpecifiedName()
	if short := missing.GetSpecifiedShortnames(); short != "" {
		typed, _, _ = strings.Cut(short, "=")
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(typed, names); near != "" && len(typed) > 1 {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}

// exactArgs wants the arguments that names tells of, as in "USER ID". One that is too
// many is not repeated: it may be a secret that was meant for standard input.
func exactArgs(names string) cobra.PositionalArgs {
	want := strings.Fields(names)
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(want):
			return fmt.Errorf("the argument %s is missing", want[len(args)])
		case len(want) == 0 && len(args) > 0:
			return errors.New("this command takes no arguments")
		case len(args) > len(want):
			return fmt.Errorf("what follows %s is one argument too many; a text with spaces stands in quotes, the rest is said with flags, and secrets are read from standard input", want[len(want)-1])
		}
		for i, arg := range args {
			if arg == "" {
				return fmt.Errorf("the argument %s is empty", want[i])
			}
		}
		return nil
	}
}

// upToArgs is exactArgs, where all of them may be left out.
func upToArgs(names string) cobra.PositionalArgs {
	given := exactArgs(names)
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return given(cmd, args)
	}
}

// someArgs wants one or more arguments of what name tells of.
func someArgs(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("the argument %s is missing", name)
		case slices.Contains(args, ""):
			return fmt.Errorf("the argument %s is empty", name)
		}
		return nil
	}
}

// areFiles says which of the paths that arguments give name no file: trying again
// changes nothing, as with every other wrong argument.
func areFiles(paths ...string) error {
	var wrong []error
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no regular file", path)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return usageError{errors.Join(wrong...)}
}

// parseSpan reads a duration as the configuration has them, longer than nothing.
func parseSpan(text string) (time.Duration, error) {
	d, err := config.ParseDuration(text)
	switch {
	case err != nil, d == 0:
		return 0, fmt.Errorf("%q is no duration; write it as 90m, 12h, 30d or 8w", text)
	case d > config.LongestDuration:
		return 0, fmt.Errorf("%q is too long; at most 36500d can be written", text)
	}
	return d, nil
}

// parseExpiry reads a date ("2027-01-31", its end, in local time), a time
// (RFC 3339) or a duration from now.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t.AddDate(0, 0, 1), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := parseSpan(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a date (2027-01-31), a time (2027-01-31T18:00:00Z) nor a duration (30d)", text)
	}
	return now.Add(d), nil
}
