package main_test

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// needRadclient skips, or in CI fails, where Debian's radclient is missing.
func needRadclient(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("radclient"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("radclient is missing: apt-get install freeradius-utils")
	}
	t.Skip("radclient is missing: apt-get install freeradius-utils")
}

// The answers that radclient tells of.
const (
	accept  = "Access-Accept"
	reject  = "Access-Reject"
	silence = "No reply"
)

// An answer is what radclient got.
type answer struct {
	code string
	text string // all that it printed
}

// has says whether the reply holds an attribute, as radclient prints it.
func (a answer) has(attribute string) bool { return strings.Contains(a.text, "\t"+attribute+"\n") }

// radclient sends one Access-Request with attributes in its own notation.
func (s *site) radclient(attributes ...string) answer {
	s.t.Helper()
	return s.radclientWith([]string{"-r", "1", "-t", "60"}, attributes...)
}

func (s *site) radclientWith(options []string, attributes ...string) answer {
	s.t.Helper()
	needRadclient(s.t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !slices.Contains(options, "-S") {
		options = append(options, "-S", s.path("vpn1.secret"))
	}
	to := []string{s.radius, "auth"}
	if slices.ContainsFunc(attributes, func(a string) bool { return strings.HasPrefix(a, "Acct-Status-Type") }) {
		to = []string{s.accounting, "acct"}
	} else {
		attributes = append(attributes, "Message-Authenticator = 0x00")
	}
	c := exec.CommandContext(ctx, "radclient", append(append(options, "-x"), to...)...)
	c.Stdin = strings.NewReader(strings.Join(attributes, ", ") + "\n")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("radclient: %v\n%s", err, out)
	}
	a := answer{text: string(out)}
	if m := regexp.MustCompile(`(?m)^Received (\S+) Id`).FindStringSubmatch(a.text); m != nil {
		a.code = m[1]
	} else if strings.Contains(a.text, "No reply from server") {
		a.code = silence
	} else {
		s.t.Fatalf("radclient: %v\n%s", err, out)
	}
	return a
}

func userName(name string) string         { return `User-Name = "` + name + `"` }
func userPassword(password string) string { return `User-Password = "` + password + `"` }

// signIn is an Access-Request as a device sends it.
func (s *site) signIn(name, password string, more ...string) answer {
	s.t.Helper()
	return s.radclient(append([]string{userName(name), userPassword(password)}, more...)...)
}

// expect signs in and wants an answer.
func (s *site) expect(want, name, password string, more ...string) answer {
	s.t.Helper()
	a := s.signIn(name, password, more...)
	if a.code != want {
		s.t.Errorf("sign-in of %s: %s, want %s\n%s\nwhy: %s", name, a.code, want, a.text, s.run("", "why", name))
	}
	return a
}

// exchange is a sign-in without a process for it: one datagram and its reply,
// and no repeat, so that a lost one is an error. from is the source address.
func (s *site) exchange(ctx context.Context, from, secret, name, password string) (radius.Code, error) {
	p := radius.New(radius.CodeAccessRequest, []byte(secret))
	authenticator := make([]byte, md5.Size)
	err := errors.Join(rfc2865.UserName_SetString(p, name), rfc2865.UserPassword_SetString(p, password),
		rfc2869.MessageAuthenticator_Set(p, authenticator))
	if err != nil {
		return 0, err
	}
	raw, err := p.Encode()
	if err != nil {
		return 0, err
	}
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(raw)
	if err := rfc2869.MessageAuthenticator_Set(p, mac.Sum(nil)); err != nil {
		return 0, err
	}
	client := radius.Client{Dialer: net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	reply, err := client.Exchange(ctx, p, s.radius)
	if err != nil {
		return 0, err
	}
	return reply.Code, nil
}

func (s *site) secret(client string) string {
	s.t.Helper()
	return strings.TrimSpace(readFile(s.t, s.path(client+".secret")))
}
