package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	layeh "layeh.com/radius"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/bridges/radius/probe"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/proof"
)

func (a *app) radiusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "radius", Short: "Ask a RADIUS server, as a device does, and watch this one"}
	cmd.AddCommand(a.radiusTest(), a.radiusDebug())
	return cmd
}

// A radiusTry is what the flags of "radius test" say.
type radiusTry struct {
	server, secretFile, client string
	method, device             string
	timeout                    time.Duration
	asJSON                     bool
}

// methodWords are what administrators call the methods.
func methodWords() map[string]proof.Method {
	return map[string]proof.Method{"pap": proof.MethodCleartext, "chap": proof.MethodCHAP, "mschapv2": proof.MethodMSCHAPv2}
}

func (a *app) radiusTest() *cobra.Command {
	var try radiusTry
	cmd := &cobra.Command{
		Use:   "test USER",
		Short: "Try to sign in over RADIUS, with the password on standard input",
		Long: `Try to sign in at a RADIUS server, this one or any other, with the password on
standard input, and check all that is signed in the answer. It is a real attempt.
With --client, address and shared secret are those of the configuration, and it is
asked from an address of the client, if this host has one; else it is silent.

Exit codes: 0 accepted, 1 refused or wrongly accepted, 3 no answer.`,
		Args: exactArgs("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := probe.Request{Account: args[0], Method: methodWords()[try.method], Device: try.device, Timeout: try.timeout}
			if r.Method == "" {
				return usage(cmd, fmt.Errorf("%q is no method; take pap, chap or mschapv2", try.method))
			}
			switch {
			case try.client != "" && try.secretFile != "":
				return usage(cmd, errors.New("--client has its secret in the configuration; leave it or --secret-file out"))
			case try.client == "" && (try.secretFile == "" || try.server == ""):
				return usage(cmd, errors.New("give --client, or --server and --secret-file"))
			case try.timeout <= 0:
				return usage(cmd, fmt.Errorf("--timeout %s is no time to wait; write it as 10s", try.timeout))
			}
			as, names, err := a.target(cmd.Context(), &r, try)
			if err != nil {
				return err
			}
			defer clear(r.Secret)
			if r.Password, err = a.readSecret(cmd.Context(), "Password", false); err != nil {
				return err
			}
			answer, err := probe.Ask(cmd.Context(), r)
			return a.showAnswer(r, answer, err, as, names, try.asJSON)
		},
	}
	cmd.Flags().StringVar(&try.server, "server", "", "the server's `address`, with a port unless it is 1812")
	cmd.Flags().StringVar(&try.secretFile, "secret-file", "", "the `file` with the shared secret")
	cmd.Flags().StringVar(&try.client, "client", "", "a client of the configuration to ask as, by its `name`")
	cmd.Flags().StringVar(&try.method, "method", "pap", "the `method` to present the password by: pap, chap or mschapv2")
	cmd.Flags().StringVar(&try.device, "device", "", "the Calling-Station-Id to send, where the app password is pinned")
	cmd.Flags().DurationVar(&try.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	jsonFlag(cmd, &try.asJSON)
	return cmd
}

// An asker is a client of the configuration that is asked as.
type asker struct {
	name  string
	known radius.Config // who is at which address
}

func newAsker(r *config.Radius, name string) *asker {
	as := &asker{name: name}
	for _, c := range r.Clients {
		as.known.Clients = append(as.known.Clients, radius.Client{Name: c.Name, Prefixes: c.Address})
	}
	return as
}

// target fills in whom to ask, and returns the client of the configuration, if
// one was named, and what attributes are called.
func (a *app) target(ctx context.Context, r *probe.Request, try radiusTry) (as *asker, names *radius.Dictionary, err error) {
	r.Server, names = try.server, radius.BuiltinDictionary()
	if try.client == "" {
		r.Secret, err = config.ReadSecret(try.secretFile)
		if err != nil {
			return nil, nil, usageError{err}
		}
	} else {
		f, err := a.loadFile(ctx)
		if err != nil {
			return nil, nil, err
		}
		client, err := namedClient(f, try.client)
		if err != nil {
			return nil, nil, usageError{err}
		}
		as = newAsker(f.Radius, client.Name)
		if r.Secret, err = f.ClientSecret(*client); err != nil {
			return nil, nil, err
		}
		if own := dictionaryOf(f, &config.Faults{}); own != nil { // its faults are told by config check
			names = own
		}
		if r.Server == "" {
			own, err := ownAddresses(client.Address)
			if err != nil {
				return nil, nil, err
			}
			server, from := as.from(f.Radius.Listen, own)
			r.Server, r.From = server.String(), from
		}
	}
	if _, _, err := net.SplitHostPort(r.Server); err != nil {
		r.Server = net.JoinHostPort(strings.Trim(r.Server, "[]"), "1812")
	}
	_, port, _ := net.SplitHostPort(r.Server)
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, nil, usageError{fmt.Errorf("%q is no port; write the server like 192.0.2.1:1812 or [2001:db8::1]:1812", port)}
	}
	return as, names, nil
}

// ownAddresses returns addresses of a client that this host has. It has all of
// 127.0.0.0/8, of which its interfaces name one.
func ownAddresses(client []netip.Prefix) (own []netip.Addr, err error) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, p := range client {
		if p.Addr().Is4() && p.Addr().IsLoopback() {
			own = append(own, p.Addr())
			if !p.IsSingleIP() {
				own[len(own)-1] = p.Addr().Next() // the first is the network's
			}
		}
		for _, i := range interfaces {
			n, ok := i.(*net.IPNet)
			if !ok {
				continue
			}
			if a, ok := netip.AddrFromSlice(n.IP); ok && p.Contains(a.Unmap()) && !a.IsLinkLocalUnicast() {
				own = append(own, a.Unmap())
			}
		}
	}
	return own, nil
}

// from returns an address that the daemon listens on and one of this host that it
// knows as the client; no address if it has none.
func (as *asker) from(listen []netip.AddrPort, own []netip.Addr) (server netip.AddrPort, from netip.Addr) {
	for _, at := range listen {
		server = localServer(at)
		for _, a := range own {
			if a.Is4() == server.Addr().Is4() && as.known.ClientAt(a) == as.name {
				return server, a
			}
		}
	}
	return localServer(listen[0]), netip.Addr{}
}

func namedClient(f *config.File, name string) (*config.Client, error) {
	if f.Radius == nil {
		return nil, errors.New("the configuration has no [radius] section")
	}
	var names []string
	for i := range f.Radius.Clients {
		if c := &f.Radius.Clients[i]; c.Name == name {
			return c, nil
		}
		names = append(names, f.Radius.Clients[i].Name)
	}
	return nil, fmt.Errorf("the configuration has no client %q; there are: %s", name, strings.Join(names, ", "))
}

// localServer returns where this host reaches what listens on all addresses.
func localServer(listen netip.AddrPort) netip.AddrPort {
	switch {
	case !listen.Addr().IsUnspecified():
		return listen
	case listen.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), listen.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), listen.Port())
}

// An answerJSON is what "radius test --json" prints.
type answerJSON struct {
	Result                string              `json:"result"` // accept, reject, challenge or none
	Trusted               bool                `json:"trusted"`
	Milliseconds          float64             `json:"milliseconds"`
	Packets               int                 `json:"packets"`
	MessageAuthenticator  string              `json:"message_authenticator,omitempty"`
	AuthenticatorResponse string              `json:"authenticator_response,omitempty"`
	Keys                  string              `json:"mppe_keys,omitempty"`
	Attributes            []map[string]string `json:"attributes"`
}

// showAnswer prints what came back. Anything but a yes that can be trusted is
// an error.
func (a *app) showAnswer(r probe.Request, got probe.Answer, asked error, as *asker, names *radius.Dictionary, asJSON bool) error {
	silent := errors.Is(asked, probe.ErrSilent) || errors.Is(asked, probe.ErrForged) || errors.Is(asked, probe.ErrRefused)
	switch {
	case errors.Is(asked, probe.ErrRequest):
		return usageError{asked}
	case errors.Is(asked, probe.ErrUnreachable):
		return unavailableError{fmt.Errorf("%s: %w", r.Server, asked)}
	case asked != nil && !silent:
		return asked
	}
	out := answerJSON{
		Result: resultWord(got.Code), Trusted: got.Accepted(r.Method), Milliseconds: float64(got.Took.Microseconds()) / 1000, Packets: got.Sent,
		MessageAuthenticator: string(got.MessageAuthenticator), AuthenticatorResponse: string(got.AuthenticatorResponse), Keys: string(got.Keys),
		Attributes: []map[string]string{},
	}
	for _, attribute := range got.Attributes {
		for _, told := range names.Describe(attribute) {
			out.Attributes = append(out.Attributes, map[string]string{"name": told[0], "value": told[1]})
		}
	}
	if asJSON {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else if !silent {
		a.printAnswer(r, got, out)
	}
	switch {
	case silent:
		return unavailableError{fmt.Errorf("%s: %w, after %s and %s. %s", r.Server, asked, packets(got.Sent), got.Took.Round(time.Millisecond), hint(asked, got.From, as))}
	case !out.Trusted:
		return &refusal{reason: out.Result}
	}
	return nil
}

func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

func resultWord(code layeh.Code) string {
	switch code {
	case 0:
		return "none"
	case layeh.CodeAccessAccept:
		return "accept"
	case layeh.CodeAccessReject:
		return "reject"
	case layeh.CodeAccessChallenge:
		return "challenge"
	}
	return code.String()
}

func (a *app) printAnswer(r probe.Request, got probe.Answer, out answerJSON) {
	a.printf("%s from %s in %.1f ms (packets sent: %d)\n", got.Code, line(r.Server), out.Milliseconds, got.Sent)
	checked := []string{"Response Authenticator right"}
	for _, c := range []struct {
		what string
		came probe.Check
	}{
		{"Message-Authenticator", got.MessageAuthenticator}, {"authenticator response", got.AuthenticatorResponse}, {"MPPE keys", got.Keys},
	} {
		if c.came != probe.Absent {
			checked = append(checked, c.what+" "+string(c.came))
		}
	}
	a.printf("  Checked: %s\n", strings.Join(checked, ", "))
	if got.MessageAuthenticator == probe.Absent {
		a.printf("  It has no Message-Authenticator: it could be forged (CVE-2024-3596).\n")
	}
	if got.Code == layeh.CodeAccessAccept && r.Method == proof.MethodMSCHAPv2 {
		if got.AuthenticatorResponse != probe.Right {
			a.printf("  The server did NOT show that it knows the password: a device refuses this.\n")
		}
		if got.Keys == probe.Wrong {
			a.printf("  The MPPE keys are wrong: the tunnel would carry nothing.\n")
		}
	}
	for _, attribute := range out.Attributes {
		a.printf("  %s = %s\n", line(attribute["name"]), line(attribute["value"]))
	}
}

// hint says why nothing genuine may have come, and what to look at.
func hint(err error, from string, as *asker) string {
	switch {
	case errors.Is(err, probe.ErrForged):
		return "What came is not signed with this secret: compare the shared secrets"
	case errors.Is(err, probe.ErrRefused):
		return "Is the server running, and is this its address and port?"
	}
	if address, err := netip.ParseAddrPort(from); err == nil && as != nil {
		if at := as.known.ClientAt(address.Addr()); at != as.name {
			if at != "" {
				at = " but of " + at
			}
			return fmt.Sprintf("It was asked from %s, which is no address of the client %s%s, so that silence is what to expect", address.Addr(), as.name, at)
		}
	}
	return "A server is silent to addresses that it does not know, to a wrong secret, and while it can't decide; its log and \"keywicket status\" say which"
}
