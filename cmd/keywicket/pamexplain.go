package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/keywicket/keywicket/bridges/pam"
	"github.com/keywicket/keywicket/plugins/pam/conversation"
)

// explain says in sentences why it ended so and what to do about it, and
// returns what the command ends with.
func (c *pamCheck) explain() (findings []string, err error) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	where, inStack := c.stack.auth()
	for _, fault := range c.stack.faults {
		say("%s", fault)
	}
	for _, path := range c.stack.unread {
		say("%s could not be read, and libpam wants it", path)
	}
	understood := c.stack.understood()
	configured, reached := c.explainConfig(say), true
	switch {
	case !inStack && !understood && !c.let():
	case !inStack:
		say("%s does not stand in the auth part of %s, so that nobody asked Keywicket; add its line", pamModule, c.stack.path)
	case where.wrong() != "":
		say("%s: the module has no option %q, or not with that value, and lets nobody in; see pam_keywicket(8)", where.where, where.wrong())
		configured = false
	default:
		system := c.explainUser(where, say)
		reached = system || c.explainSocket(where, say)
		if (configured || c.attempt == nil) && (understood || c.let()) { // else it is said already
			c.explainAttempt(system, reached, say)
		}
	}
	c.explainCode(where, say)
	if os.Geteuid() != 0 {
		say("this was not run as root, as services are: modules such as pam_unix, and Keywicket's socket, answer other users about themselves alone")
	}
	switch {
	case c.let():
		return findings, nil
	case !inStack, !configured, !understood:
		return findings, usageError{errors.New("the configuration does not let anybody sign in so")}
	case c.err != nil, !reached, c.result.Code == conversation.AuthinfoUnavail:
		return findings, unavailableError{errors.New("nobody could decide")}
	}
	return findings, &refusal{reason: c.result.Code.String()}
}

// let says whether the stack let the user in.
func (c *pamCheck) let() bool { return c.err == nil && c.result.Code == conversation.Success }

// explainConfig tells what the daemon's configuration lacks. It says true where
// there is nothing, or the configuration is not known.
func (c *pamCheck) explainConfig(say func(string, ...any)) bool {
	switch {
	case c.file == nil:
		return true
	case c.file.PAM == nil:
		say("%s has no [pam] section, so that the daemon does not listen for the module; add one", c.file.Path)
		return false
	case !slices.Contains(c.file.PAM.Services, c.service):
		say("the service %q is not listed in [pam] services of %s, so that its attempts are refused; add it, and run \"keywicket reload\"", c.service, c.file.Path)
		return false
	}
	return true
}

// explainUser tells whether the module does not ask about the user.
func (c *pamCheck) explainUser(where pamLine, say func(string, ...any)) (system bool) {
	u, err := user.Lookup(c.user)
	if err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			say("this host has no user %q: Keywicket is asked, but pam_unix and most services refuse who has no entry in /etc/passwd", c.user)
		}
		return false
	}
	least, err := strconv.Atoi(where.option("min_uid", strconv.Itoa(pamMinUID)))
	if err != nil {
		say("%s: min_uid= is no number", where.where)
		return false
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil || uid != 0 && uid >= least {
		return false
	}
	say("the user %q has the id %d, and the module asks about nobody below %d (min_uid): root and system users sign in without Keywicket", c.user, uid, max(least, 1))
	return true
}

// explainSocket tells whether the daemon listens where the module asks.
func (c *pamCheck) explainSocket(where pamLine, say func(string, ...any)) (reached bool) {
	path := where.option("socket", pamSocket)
	if c.file != nil && c.file.PAM != nil && c.file.PAM.Socket != path {
		say("the module asks at %s (%s), and the daemon listens at %s ([pam] socket of %s); make the two alike", path, where.where, c.file.PAM.Socket, c.file.Path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// A question without a password.
	_, err := pam.Ask(ctx, path, pam.Request{Type: pam.Account, Service: c.service, User: c.user})
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist):
		say("the socket %s is not there: is the daemon running, and has its configuration a [pam] section?", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		say("nobody listens on the socket %s: the daemon has ended; start it", path)
	case errors.Is(err, fs.ErrPermission):
		say("the socket %s cannot be used by this user: its mode must be 0666, and its folder's 0755", path)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		say("the daemon does not answer at %s; look at \"keywicket status\"", path)
	default:
		say("at the socket %s no answer came (%v); the daemon answers root, the users in [pam] users, and users of /etc/passwd about themselves", path, err)
	}
	return false
}

// explainAttempt tells what the daemon recorded.
func (c *pamCheck) explainAttempt(system, reached bool, say func(string, ...any)) {
	granted := c.result.Code == conversation.Success || c.result.Step == conversation.StepAccount
	switch t := c.attempt; {
	case t != nil && t.Reason == "":
		say("Keywicket granted it")
		switch end := c.stack.jumpsToEnd(); {
		case granted:
		case end != "" && c.result.Code == conversation.PermDenied:
			say("%s: the jump leaves out all that follows, and is no yes by itself: put \"auth required pam_permit.so\" behind the last line that it leaves out", end)
		default:
			say("another module of the stack refused it: see %s", c.stack.path)
		}
	case t != nil:
		say("Keywicket refused it (%s): %s", t.Reason, t.Sentence)
		if granted {
			say("another module of the stack let %s in", c.user)
		}
	case c.asked && reached && !system:
		say("Keywicket was not asked: a module before %s decided already, or the password was empty; see %s", pamModule, c.stack.path)
	case c.asked && granted:
		say("it was not Keywicket who let %s in, but another module of the stack", c.user)
	case !c.asked:
		say("\"keywicket why %s\", run by who may administer, tells what Keywicket decided", c.user)
	}
}

// explainCode tells what an answer of PAM means beyond a plain no.
func (c *pamCheck) explainCode(where pamLine, say func(string, ...any)) {
	switch c.result.Code {
	case conversation.ServiceErr:
		say("a module has a wrong option; where it is %s (%s), the system log names it", pamModule, where.where)
	case conversation.ModuleUnknown:
		say("a module of %s could not be loaded; the system log names it (is %s installed where PAM looks for modules?)", c.stack.path, pamModule)
	case conversation.AuthinfoUnavail:
		say("a module could not decide; where it was %s, the system log says why", pamModule)
	case conversation.ConvErr, conversation.Abort:
		say("the stack broke off, or asked for more than a password: see %s", c.stack.path)
	case conversation.NewAuthtokReqd, conversation.AcctExpired, conversation.CredExpired:
		say("the account of this host, or its password there, has expired; see chage(1)")
	}
}
