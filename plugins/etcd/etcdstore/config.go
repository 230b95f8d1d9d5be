package etcdstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/keywicket/keywicket/plugins/sdk"
)

// A Config says where the cluster is and how to speak to it. The zero values
// of all but Endpoints are good.
type Config struct {
	// Endpoints are the URLs of the members: "https://etcd1.example:2379". One
	// of them is used at a time, at first the first, the next when it fails.
	Endpoints []string `json:"endpoints"`

	// Prefix stands before every key and ends in "/". Nothing else may write
	// below it. Empty: "keywicket/".
	Prefix string `json:"prefix"`

	CAFile   string `json:"ca_file"`   // who signs the members' certificates; empty: the system's
	CertFile string `json:"cert_file"` // our certificate and its key, PEM; empty: none
	KeyFile  string `json:"key_file"`

	Username     string `json:"username"`      // empty: no authentication by password
	PasswordFile string `json:"password_file"` // its first line

	// Timeout bounds each request, whatever its context says. 0: 5 s.
	Timeout time.Duration `json:"-"`

	// Quota is etcd's --quota-backend-bytes, for versions before 3.6, which do
	// not tell. 0: not known. Where it is known, the last tenth is kept for what
	// takes access away.
	Quota int64 `json:"quota_bytes"`

	// Logger hears of members lost and found. nil: nobody does.
	Logger *slog.Logger `json:"-"`

	silence time.Duration // for tests; 0: the constant
}

const (
	defaultPrefix  = "keywicket/"
	defaultTimeout = 5 * time.Second
	maxPrefix      = 128 // octets, so that the largest batch fits into a request
)

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.silence == 0 {
		c.silence = silence
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// check returns everything that is wrong with c.
func (c Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Endpoints) == 0 {
		fault("endpoints: at least one is needed, such as https://127.0.0.1:2379")
	}
	for _, endpoint := range c.Endpoints {
		if err := c.checkEndpoint(endpoint); err != nil {
			fault("endpoints: %w", err)
		}
	}
	if !strings.HasSuffix(c.Prefix, "/") || len(c.Prefix) > maxPrefix {
		fault("prefix: %q has to end in \"/\" and to have at most %d octets", c.Prefix, maxPrefix)
	}
	if c.Timeout < 0 {
		fault("timeout: %v is none", c.Timeout)
	}
	if c.Quota < 0 {
		fault("quota_bytes: %d is none", c.Quota)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		fault("cert_file and key_file belong together")
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		fault("username and password_file belong together")
	}
	if _, err := c.tls(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.password(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (c Config) checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err == nil {
		endpoint = u.Redacted()
	}
	if err != nil || u.Host == "" || (u.Path != "" && u.Path != "/") || u.User != nil || u.RawQuery != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%q is not like https://HOST:PORT", endpoint)
	}
	if u.Scheme == "https" {
		return nil
	}
	if c.CAFile != "" || c.CertFile != "" {
		return fmt.Errorf("%q is without TLS, for which ca_file or cert_file are set; write https", endpoint)
	}
	if c.Username != "" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%q would carry the password in clear; write https", endpoint)
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// tls reads the certificates.
func (c Config) tls() (*tls.Config, error) { return sdk.ReadTLS(c.CAFile, c.CertFile, c.KeyFile) }

func (c Config) password() (string, error) { return sdk.ReadSecret("password_file", c.PasswordFile) }
