package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keywicket/keywicket/core/config"
)

// pamFault says what libpam does not understand of a line of a service's file: its
// kind, its control, or that there is no module. It says no more than that to the
// system log, and nobody is let in by the line.
func pamFault(fields []string) string {
	kind := strings.TrimPrefix(fields[0], "-")
	if strings.HasPrefix(kind, "\ufeff") {
		return "the file begins with a byte order mark, which libpam takes for a part of the first word; save it without"
	}
	if wrong := wrongWord("the kind", kind, []string{"auth", "account", "password", "session", "@include"}); wrong != "" {
		return wrong
	}
	if len(fields) < 2 {
		return fmt.Sprintf("the line is %q alone; write it like \"auth sufficient %s\"", fields[0], pamModule)
	}
	if !strings.HasPrefix(fields[1], "[") {
		words := []string{"required", "requisite", "sufficient", "optional", "include", "substack"}
		if wrong := wrongWord("the control", fields[1], words); wrong != "" {
			return wrong
		}
	} else if wrong, _, _ := pamActions(fields[1]); wrong != "" {
		return wrong
	}
	if len(fields) < 3 {
		return fmt.Sprintf("there is no module after %q; write it like \"auth sufficient %s\"", fields[1], pamModule)
	}
	if name := filepath.Base(fields[2]); name != pamModule && config.Nearest(name, []string{pamModule}) != "" {
		return fmt.Sprintf("the module is %q; did you mean %s?", name, pamModule)
	}
	return ""
}

// pamActions says what is wrong with a control in brackets, which holds pairs such
// as "success=done", or which pair leaves out most lines, and how many.
func pamActions(control string) (wrong, jump string, over int) {
	inside, bracketed := strings.CutPrefix(control, "[")
	if !bracketed {
		return "", "", 0
	}
	inside, closed := strings.CutSuffix(inside, "]")
	if !closed {
		return fmt.Sprintf("%q has no ] at its end", control), "", 0
	}
	for _, pair := range strings.Fields(regexp.MustCompile(`\s*=\s*`).ReplaceAllString(inside, "=")) {
		value, action, has := strings.Cut(pair, "=")
		if !has {
			return fmt.Sprintf("%q in the brackets is no pair like success=done", pair), "", 0
		}
		if wrong := wrongWord("the value", value, pamValues()); wrong != "" {
			return wrong, "", 0
		}
		if n, err := strconv.Atoi(action); err == nil && n > 0 {
			if n > over {
				jump, over = pair, n
			}
			continue
		}
		if wrong := wrongWord("the action", action, []string{"ignore", "ok", "done", "bad", "die", "reset"}); wrong != "" {
			return wrong, "", 0
		}
	}
	return "", jump, over
}

// pamValues are the words of pam.conf(5) for what a module answers.
func pamValues() []string {
	return strings.Fields("success open_err symbol_err service_err system_err buf_err perm_denied auth_err cred_insufficient authinfo_unavail " +
		"user_unknown maxtries new_authtok_reqd acct_expired session_err cred_unavail cred_expired cred_err no_module_data conv_err authtok_err " +
		"authtok_recover_err authtok_recovery_err authtok_lock_busy authtok_disable_aging try_again ignore abort authtok_expired module_unknown bad_item conv_again incomplete default")
}

// wrongWord says that word is none of words, in whatever case, and which was meant.
func wrongWord(what, word string, words []string) string {
	lower := strings.ToLower(word)
	if slices.Contains(words, lower) {
		return ""
	}
	if near := config.Nearest(lower, words); near != "" {
		return fmt.Sprintf("libpam knows no %q; did you mean %s?", word, near)
	}
	if len(words) > 10 {
		return fmt.Sprintf("libpam knows no %q; see pam.conf(5)", word)
	}
	return fmt.Sprintf("libpam knows no %q; %s is one of %s", word, what, strings.Join(words, ", "))
}
