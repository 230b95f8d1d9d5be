package radius

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// R6 and the rest: every fault, with the client and the field it is about.
func TestR6Check(t *testing.T) {
	secret := func(n int) [][]byte { return [][]byte{[]byte(strings.Repeat("x", n))} }
	for name, tt := range map[string]struct {
		change func(c *Config)
		fault  string // "client/field: words", or none
	}{
		"good":            {func(*Config) {}, ""},
		"no secret":       {func(c *Config) { c.Clients[0].Secrets = nil }, "vpn1/secret: no shared secret"},
		"empty secret":    {func(c *Config) { c.Clients[0].Secrets = secret(0) }, "vpn1/secret: the shared secret is empty"},
		"empty, weak":     {func(c *Config) { c.Clients[0].Secrets, c.Clients[0].AllowWeakSecret = secret(0), true }, "vpn1/secret: the shared secret is empty"},
		"15 octets":       {func(c *Config) { c.Clients[0].Secrets = secret(15) }, "vpn1/secret: the shared secret has 15 octets"},
		"15 octets, weak": {func(c *Config) { c.Clients[0].Secrets, c.Clients[0].AllowWeakSecret = secret(15), true }, ""},
		"16 octets":       {func(c *Config) { c.Clients[0].Secrets = secret(16) }, ""},
		"23 octets":       {func(c *Config) { c.Clients[0].Secrets = secret(23) }, ""},
		"24 octets":       {func(c *Config) { c.Clients[0].Secrets = secret(24) }, ""},
		"256 octets":      {func(c *Config) { c.Clients[0].Secrets = secret(256) }, ""},
		"257 octets":      {func(c *Config) { c.Clients[0].Secrets = secret(257) }, "vpn1/secret: the shared secret has 257 octets; at most 256"},
		"old too short":   {func(c *Config) { change(c, secret(32), secret(8)) }, "vpn1/old_secret: the shared secret has 8 octets"},
		"old and new":     {func(c *Config) { change(c, secret(32), secret(33)) }, ""},
		"old as new":      {func(c *Config) { change(c, secret(32), secret(32)) }, "vpn1/old_secret: it is the same"},
		"old without end": {func(c *Config) {
			change(c, secret(32), secret(33))
			c.Clients[0].OldUntil = time.Time{}
		}, "vpn1/old_secret_until: nothing says"},
		"three secrets":   {func(c *Config) { change(c, secret(32), append(secret(33), secret(34)...)) }, "vpn1/secret: 3 shared secrets"},
		"no address":      {func(c *Config) { c.Clients[0].Prefixes = nil }, "vpn1/address: no address"},
		"all of IPv4":     {func(c *Config) { c.Clients[0].Prefixes = prefixes("0.0.0.0/0") }, "vpn1/address: 0.0.0.0/0 lets everybody ask"},
		"all of IPv6":     {func(c *Config) { c.Clients[0].Prefixes = prefixes("::/0") }, "vpn1/address: ::/0 lets everybody ask"},
		"all, mapped":     {func(c *Config) { c.Clients[0].Prefixes = prefixes("::ffff:0.0.0.0/96") }, "vpn1/address: "},
		"all, meant":      {func(c *Config) { c.Clients[0].Prefixes, c.Clients[0].AllowAny = prefixes("::/0"), true }, ""},
		"zero prefix":     {func(c *Config) { c.Clients[0].Prefixes = []netip.Prefix{{}} }, "vpn1/address: "},
		"host bits":       {func(c *Config) { c.Clients[0].Prefixes = prefixes("192.0.2.10/24") }, "vpn1/address: 192.0.2.10/24 has bits behind its length; write 192.0.2.0/24 for the network or 192.0.2.10/32"},
		"two of a prefix": {func(c *Config) { c.Clients = append(c.Clients, second(c)) }, `wifi/address: 192.0.2.10/32 belongs to client "vpn1"`},
		"the same, mapped": {func(c *Config) {
			c.Clients = append(c.Clients, second(c))
			c.Clients[1].Prefixes = prefixes("::ffff:192.0.2.10/128")
		}, `wifi/address: ::ffff:192.0.2.10/128 belongs to client "vpn1"`},
		"nested prefixes": {func(c *Config) {
			c.Clients = append(c.Clients, second(c))
			c.Clients[1].Prefixes = prefixes("192.0.2.0/24")
		}, ""},
		"two of a name": {func(c *Config) {
			c.Clients = append(c.Clients, second(c))
			c.Clients[1].Name, c.Clients[1].Prefixes = "vpn1", prefixes("192.0.2.0/24")
		}, "vpn1/name: there are two"},
		"no name":           {func(c *Config) { c.Clients[0].Name = "" }, "#1/name: a client needs a name"},
		"name with a slash": {func(c *Config) { c.Clients[0].Name = "a/b" }, "a/b/name: a name has"},
		"service":           {func(c *Config) { c.Clients[0].ServiceName = "a b" }, "vpn1/service: "},
		"requirement":       {func(c *Config) { c.Clients[0].RequireMessageAuthenticator = 9 }, "vpn1/require_message_authenticator: "},
		"never":             {func(c *Config) { never(&c.Clients[0]) }, ""},
		"auto":              {func(c *Config) { auto(&c.Clients[0]) }, ""},
		"proxy limit off":   {func(c *Config) { c.Clients[0].AllowUnsignedProxyState = true }, ""},
		"a method of none":  {func(c *Config) { c.Clients[0].Methods = []proof.Method{"chap", "mschapv1"} }, `vpn1/methods: "mschapv1" is no method`},
		"MS-CHAPv2 in clear": {func(c *Config) {
			c.Clients[0].Methods, c.Clients[0].AllowInsecureMSCHAP = proof.Methods(), true
		}, ""},
		"MS-CHAPv2, tunnelled": {func(c *Config) { c.Clients[0].Methods = proof.Methods() }, ""},
		"allowed, not listed":  {func(c *Config) { c.Clients[0].AllowInsecureMSCHAP = true }, ""},
		"replay allowed":       {func(c *Config) { c.Clients[0].AllowReplayedAuthenticator = true }, ""},
		"no client":            {func(c *Config) { c.Clients = nil }, ""},
		"no listen":            {func(c *Config) { c.Listen = nil }, "/listen: no address"},
		"listen on a name":     {func(c *Config) { c.Listen = []string{"localhost:1812"} }, "/listen: "},
		"listen, no port":      {func(c *Config) { c.Listen = []string{"127.0.0.1"} }, "/listen: "},
		"listen, bad port":     {func(c *Config) { c.Listen = []string{"127.0.0.1:99999"} }, "/listen: "},
		"listen twice":         {func(c *Config) { c.Listen = []string{"127.0.0.1:1812", "127.0.0.1:1812"} }, "/listen: "},
		"realm":                {func(c *Config) { c.Realm = "cut" }, "/realm: "},
		"delay negative":       {func(c *Config) { c.RejectDelay = -1 }, "/reject_delay: "},
		"delay too long":       {func(c *Config) { c.RejectDelay = time.Minute }, "/reject_delay: "},
		"timeout too long":     {func(c *Config) { c.AttemptTimeout = time.Hour }, "/attempt_timeout: "},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			tt.change(&config)
			checkOnly(t, config.Check(), tt.fault)
			_, err := newServer(config, &fakeEngine{}, nil, slog.New(slog.DiscardHandler))
			var fault Fault
			if (err != nil) != (tt.fault != "") || err != nil && !errors.As(err, &fault) {
				t.Errorf("newServer: %v", err)
			}
		})
	}
}

// meet has reply attributes of client, group and profile meet, of so many octets; they
// have others, and what is replaced is none.
func meet(t *testing.T, c *Config, octets int) {
	t.Helper()
	c.Clients[0].Reply = append(replyOctets(t, "Filter-Id", 1000), replyOctets(t, "Reply-Message", 100)...)
	c.Replies.Groups = map[string][]Attribute{"guests": replyOctets(t, "Filter-Id", 900), "staff": replyOctets(t, "Cisco-AVPair", octets-1500)}
	c.Replies.Profiles = map[string][]Attribute{"vpn": replyOctets(t, "Reply-Message", 500), "tv": nil}
}

func change(c *Config, now, old [][]byte) {
	c.Clients[0].Secrets, c.Clients[0].OldUntil = append(now, old...), time.Now()
}

func second(c *Config) Client {
	other := c.Clients[0]
	other.Name = "wifi"
	return other
}

func checkOnly(t *testing.T, got []Fault, want string) {
	t.Helper()
	if want == "" {
		if len(got) != 0 {
			t.Errorf("faults %q, want none", got)
		}
		return
	}
	if len(got) != 1 || !strings.HasPrefix(got[0].Client+"/"+got[0].Field+": "+got[0].Text, want) {
		t.Errorf("faults %q, want only %q", got, want)
	}
}

// All faults come at once, and none shows a secret.
func TestCheckReportsAll(t *testing.T) {
	config := testConfig(Client{}, Client{Name: "a", Secrets: [][]byte{[]byte("hunter2")}, Prefixes: prefixes("0.0.0.0/0")})
	config.Listen, config.Realm = nil, "x"
	_, err := newServer(config, &fakeEngine{}, nil, slog.New(slog.DiscardHandler))
	if err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the secret is in the error")
	}
}

// What can meet and does not fit together is told before it meets. MS-CHAPv2 takes
// room, too.
func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		client Client
		octets int
		want   string
	}{
		{testClient(), MaxReply, ""},
		{testClient(), MaxReply + 1, `there are 3804 octets of attributes (its own, those of the group "staff", those of the profile "vpn"), and an answer to this client has room for 3803`},
		{everyMethod(), MaxReply - succeedOctets, ""},
		{everyMethod(), MaxReply - succeedOctets + 1, "has room for 3644"},
	} {
		config := testConfig(tt.client)
		meet(t, &config, tt.octets)
		all := config.Warnings()
		if len(all) != 1 && tt.want != "" || len(all) > 0 && (tt.want == "" || all[0].Client != "vpn1" || all[0].Field != "reply" || !strings.Contains(all[0].Text, tt.want)) {
			t.Errorf("%d octets: %v, want %q", tt.octets, all, tt.want)
		}
	}
}
