package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/plugins/pam/conversation"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) pamCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "pam", Short: "Try the PAM stacks of this host"}
	cmd.AddCommand(a.pamCheckCommand())
	return cmd
}

// A pamCheck is one try of a stack, and what is known beside its outcome.
type pamCheck struct {
	service, user, rhost string
	dir, program         string
	timeout              time.Duration
	asJSON               bool

	file    *config.File // nil: not known
	stack   pamStack
	begun   time.Time
	result  conversation.Result
	err     error              // why there is no result
	attempt *controlv1.Attempt // what the daemon recorded; nil: not known, or none
	asked   bool               // the daemon told what it recorded
}

func (a *app) pamCheckCommand() *cobra.Command {
	var c pamCheck
	cmd := &cobra.Command{
		Use:   "check SERVICE USER",
		Short: "Try to sign in at a PAM service of this host, and explain what happened",
		Long: `Try to sign in at a PAM service of this host as USER, with the password on standard
input, and explain what happened. The stack of the service is run as it is, up to
its account part; no session is opened. It is a real attempt: it counts as a use,
and stands in the audit. Run it as root, as the services do.

Exit codes: 0 signed in, 1 refused, 2 the service or its configuration is wrong,
3 nobody could decide.`,
		Args: exactArgs("SERVICE USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.service, c.user = args[0], args[1]
			return a.pamCheck(cmd.Context(), &c)
		},
	}
	cmd.Flags().StringVar(&c.rhost, "rhost", "", "the `host` that signs in, which is the device where the app password is pinned")
	cmd.Flags().StringVar(&c.dir, "pam-dir", pamDir, "the `folder` of the services' files")
	cmd.Flags().StringVar(&c.program, "program", "", "the `path` of "+conversation.Name+" (default: beside this program, or in "+conversation.Folder+")")
	cmd.Flags().DurationVar(&c.timeout, "timeout", 30*time.Second, "how long the stack may take, as a `duration`")
	jsonFlag(cmd, &c.asJSON)
	return cmd
}

func (a *app) pamCheck(ctx context.Context, c *pamCheck) (err error) {
	if strings.ContainsAny(c.service, "/\x00") || c.service == "" || c.service[0] == '.' {
		return usageError{fmt.Errorf("%q is no PAM service; give the name of a file in %s", c.service, c.dir)}
	}
	if c.stack = readStack(c.dir, c.service); !c.stack.exists {
		return usageError{fmt.Errorf("there is no PAM service %q: %s is not there, and PAM would use the one called \"other\"", c.service, c.stack.path)}
	}
	if c.file, err = a.knownConfig(); err != nil {
		return err
	}
	if c.program == "" {
		c.program, err = conversation.Find()
	} else {
		err = conversation.Check(c.program)
	}
	if err != nil {
		return unavailableError{err} // nobody decided
	}
	password, err := a.readSecret(ctx, "Password", false)
	if err != nil {
		return err
	}
	c.begun = time.Now()
	run, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.result, c.err = conversation.Run(run, c.program, conversation.Request{
		Service: c.service, User: c.user, RHost: c.rhost, Dir: c.otherDir(), Password: []byte(password),
		Steps: []string{conversation.StepAuthenticate, conversation.StepAccount},
	})
	if c.err != nil && !errors.Is(c.err, conversation.ErrLate) {
		return unavailableError{c.err}
	}
	c.askDaemon(ctx, a)
	return a.showPAM(c)
}

// otherDir returns the folder of the services, where it is not PAM's own.
func (c *pamCheck) otherDir() string {
	if c.dir == pamDir {
		return ""
	}
	return c.dir
}

// knownConfig returns the daemon's configuration: the one that --config names,
// else the usual one, if it can be read.
func (a *app) knownConfig() (*config.File, error) {
	if a.configPath != "" {
		return loadConfig(a.configFile())
	}
	if f, err := config.Load(defaultConfig); err == nil && a.socket == "" && os.Getenv("KEYWICKET_SOCKET") == "" {
		return f, nil
	}
	return nil, nil
}

// askDaemon finds out what the daemon recorded of the attempt, if it tells.
func (c *pamCheck) askDaemon(ctx context.Context, a *app) {
	c.asked = a.ask(ctx, func(ctx context.Context, d daemonClient) error {
		r, err := d.ListAttempts(ctx, &controlv1.ListAttemptsRequest{Account: c.user})
		if err != nil && exitCode(err) != exitFailed { // that there is no account is an answer
			return err
		}
		for _, attempt := range r.GetAttempts() {
			if attempt.Service == "pam/"+c.service && !attempt.Time.AsTime().Before(c.begun.Truncate(time.Millisecond)) {
				c.attempt = attempt
				return nil
			}
		}
		return nil
	}) == nil
}

type pamJSON struct {
	Result   string       `json:"result"`
	Step     string       `json:"step"`
	Code     string       `json:"code"`
	Said     []string     `json:"said"`
	Findings []string     `json:"findings"`
	Attempt  *attemptJSON `json:"attempt"`
}

// showPAM prints how it ended, and why.
func (a *app) showPAM(c *pamCheck) error {
	findings, err := c.explain()
	result := "granted"
	switch exitCode(err) {
	case exitOK:
	case exitUnavailable:
		result = "unavailable"
	default:
		result = "refused"
	}
	if c.asJSON {
		out := pamJSON{Result: result, Step: c.result.Step, Code: c.result.Code.String(), Said: notNil(c.result.Said), Findings: notNil(findings)}
		if c.attempt != nil {
			attempt := toAttemptJSON(c.attempt)
			out.Attempt = &attempt
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
		return err
	}
	a.printf("%s: %s\n", result, c.ending())
	for _, said := range c.result.Said {
		a.printf("    PAM: %s\n", line(strings.TrimSpace(said)))
	}
	for _, finding := range findings {
		a.printf("  - %s\n", line(finding))
	}
	return err
}

// ending tells how the conversation ended.
func (c *pamCheck) ending() string {
	switch {
	case c.err != nil:
		return fmt.Sprintf("the stack of %q did not answer within %s, and was killed", line(c.service), c.timeout)
	case c.result.Code == conversation.Success:
		return fmt.Sprintf("%q lets %s in", line(c.service), line(c.user))
	case c.result.Step == conversation.StepAccount:
		return fmt.Sprintf("the password was taken, and the account part of %q answered %v", line(c.service), c.result.Code)
	}
	return fmt.Sprintf("%q answered %v", line(c.service), c.result.Code)
}
