package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// maxInput is the longest line that is read, in octets.
const maxInput = 4096

// errInterrupted ends a verb that waits for a person. Nobody is asked after
// something was done.
var errInterrupted = errors.New("interrupted, and nothing was changed")

var errEmpty = errors.New("standard input is empty, and the secret is read from there")

// awaited is what read returns, or errInterrupted as soon as ctx ends. Nothing can
// end a read of a terminal or a pipe before the program: its goroutine stays until then.
func awaited(ctx context.Context, read func() (string, error)) (string, error) {
	type outcome struct {
		text string
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := read()
		done <- outcome{text, err}
	}()
	select {
	case o := <-done:
		return o.text, o.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}

// readSecret reads one line from standard input; from a terminal with a prompt
// and without echo. twice asks a person to repeat it.
func (a *app) readSecret(ctx context.Context, prompt string, twice bool) (string, error) {
	if !a.atTerminal() {
		return a.readLine(ctx)
	}
	first, err := a.readHidden(ctx, prompt)
	if err != nil || !twice {
		return first, err
	}
	second, err := a.readHidden(ctx, prompt+", once more")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two differ; nothing was changed")
	}
	return first, nil
}

// readHidden leaves the terminal as it was, also where ctx ends it.
func (a *app) readHidden(ctx context.Context, prompt string) (text string, err error) {
	in := a.in.(*os.File)
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, before)) }()
	fmt.Fprint(a.err, prompt+": ")
	text, err = a.readLine(ctx) // term.ReadPassword would go on after Ctrl-D
	fmt.Fprintln(a.err)
	if errors.Is(err, errEmpty) {
		return "", errors.New("nothing was entered, and nothing was changed")
	}
	return text, err
}

// readLine reads one line, or what there is, from standard input.
func (a *app) readLine(ctx context.Context) (string, error) {
	if a.in == nil {
		return "", errors.New("standard input is closed, and the secret is read from there")
	}
	line, err := awaited(ctx, func() (string, error) {
		return bufio.NewReader(io.LimitReader(a.in, maxInput+1)).ReadString('\n')
	})
	switch {
	case errors.Is(err, errInterrupted):
		return "", err
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("standard input: %w", err)
	case len(line) > maxInput:
		return "", fmt.Errorf("the line on standard input is longer than %d octets", maxInput)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errEmpty
	}
	if !utf8.ValidString(line) {
		return "", errors.New("standard input is not UTF-8, in which secrets are read")
	}
	return line, nil
}

// confirm asks whether to go on, at the terminal or of who wrote to standard
// input. Where nobody answers, only --yes is a yes.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	answer, err := a.readLine(ctx)
	if err != nil || !a.atTerminal() { // where nobody pressed Enter
		fmt.Fprintln(a.err)
	}
	if errors.Is(err, errInterrupted) {
		return err
	}
	if err != nil {
		return usageError{errors.New("nobody answered, and nothing was changed; say --yes to go on without being asked")}
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	return errors.New("nothing was changed")
}

// atTerminal says whether standard input is a terminal.
func (a *app) atTerminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
