package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// maxInput is the longest line that is read, in octets.
const maxInput = 4096

// readSecret reads one line from standard input; from a terminal with a prompt
// and without echo. twice asks a person to repeat it.
func (a *app) readSecret(prompt string, twice bool) (string, error) {
	if !a.atTerminal() {
		return a.readLine()
	}
	first, err := a.readHidden(prompt)
	if err != nil || !twice {
		return first, err
	}
	second, err := a.readHidden(prompt + ", once more")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two differ; nothing was changed")
	}
	return first, nil
}

func (a *app) readHidden(prompt string) (string, error) {
	fmt.Fprint(a.err, prompt+": ")
	text, err := term.ReadPassword(int(a.in.(*os.File).Fd()))
	fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	return string(text), nil
}

// readLine reads one line, or what there is, from standard input.
func (a *app) readLine() (string, error) {
	if a.in == nil {
		return "", errors.New("standard input is closed, and the secret is read from there")
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, maxInput+1)).ReadString('\n')
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("standard input: %w", err)
	case len(line) > maxInput:
		return "", fmt.Errorf("the line on standard input is longer than %d octets", maxInput)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("standard input is empty, and the secret is read from there")
	}
	if !utf8.ValidString(line) {
		return "", errors.New("standard input is not UTF-8, in which secrets are read")
	}
	return line, nil
}

// confirm asks whether to go on, at the terminal or of who wrote to standard
// input. Where nobody answers, only --yes is a yes.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	answer, err := a.readLine()
	if err != nil || !a.atTerminal() { // where nobody pressed Enter
		fmt.Fprintln(a.err)
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
