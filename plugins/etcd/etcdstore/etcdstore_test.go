package etcdstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/storetest"
	"github.com/keywicket/keywicket/plugins/etcd/etcdstore"
	"github.com/keywicket/keywicket/plugins/etcd/etcdtest"
)

func open(tb testing.TB, cfg etcdstore.Config) *etcdstore.Store {
	tb.Helper()
	s, err := etcdstore.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// TestContract: one cluster, and a prefix for each case.
func TestContract(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	n := 0
	storetest.Run(t, func(tb testing.TB) store.Store {
		n++
		return open(tb, etcdstore.Config{Endpoints: c.URLs(), Prefix: fmt.Sprintf("case %d/", n)})
	})
	t.Run("closed", func(t *testing.T) {
		s := open(t, etcdstore.Config{Endpoints: c.URLs()})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := storetest.CheckClosed(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
}

// TestContractSecured: with TLS, certificates of clients, a user whose role
// reaches to the prefix alone, and three members.
func TestContractSecured(t *testing.T) {
	t.Parallel()
	certs := etcdtest.NewTLS(t)
	c := etcdtest.Start(t, 3, etcdtest.Options{TLS: certs})
	for _, args := range []string{
		"user add root:rootpassword", "user grant-role root root", "user add keywicket:secret", "role add keywicket",
		"role grant-permission keywicket --prefix=true readwrite kw/", "user grant-role keywicket keywicket", "auth enable",
	} {
		c.Ctl(strings.Fields(args)...)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	config := func() etcdstore.Config {
		n++
		return etcdstore.Config{
			Endpoints: c.URLs(), Prefix: fmt.Sprintf("kw/%d/", n), Username: "keywicket", PasswordFile: password,
			CAFile: certs.CA, CertFile: certs.ClientCert, KeyFile: certs.ClientKey,
		}
	}
	storetest.Run(t, func(tb testing.TB) store.Store { return open(tb, config()) })

	for name, spoil := range map[string]func(*etcdstore.Config){
		"a prefix that the role does not reach": func(cfg *etcdstore.Config) { cfg.Prefix = "other/" },
		"no certificate":                        func(cfg *etcdstore.Config) { cfg.CertFile, cfg.KeyFile = "", "" },
		"an authority that has not signed":      func(cfg *etcdstore.Config) { cfg.CAFile = etcdtest.NewTLS(t).CA },
		"no user":                               func(cfg *etcdstore.Config) { cfg.Username, cfg.PasswordFile = "", "" },
		"a wrong password": func(cfg *etcdstore.Config) {
			cfg.PasswordFile = filepath.Join(t.TempDir(), "wrong")
			if err := os.WriteFile(cfg.PasswordFile, []byte("wrong"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Endpoints = cfg.Endpoints[:1]
			spoil(&cfg)
			s := open(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := storetest.CheckClosed(ctx, s); err != nil { // unavailable, as a closed one is
				t.Error(err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg  etcdstore.Config
		want []string
	}{
		{etcdstore.Config{}, []string{"endpoints: at least one"}},
		{etcdstore.Config{Endpoints: []string{"127.0.0.1:2379", "ftp://a:1", "https://u:p@a:1", "https://a:1/x"}}, []string{`"127.0.0.1:2379"`, `"ftp://a:1"`, `https://u:xxxxx@a:1`, `a:1/x`}},
		{etcdstore.Config{Endpoints: []string{"https://a:1"}, Prefix: "kw"}, []string{`prefix: "kw" has to end in "/"`}},
		{etcdstore.Config{Endpoints: []string{"https://a:1"}, Prefix: strings.Repeat("k", 200) + "/", Timeout: -1, Quota: -1}, []string{"128 octets", "timeout", "quota_bytes"}},
		{etcdstore.Config{Endpoints: []string{"https://a:1"}, CertFile: empty, Username: "u"}, []string{"cert_file and key_file", "username and password_file"}},
		{etcdstore.Config{Endpoints: []string{"https://a:1"}, CAFile: empty, Username: "u", PasswordFile: empty}, []string{"ca_file: " + empty, "password_file: the first line"}},
		{etcdstore.Config{Endpoints: []string{"https://a:1"}, CAFile: "absent", CertFile: "absent", KeyFile: "absent", Username: "u", PasswordFile: "absent"}, []string{"ca_file: open", "password_file: open"}},
		{etcdstore.Config{Endpoints: []string{"http://a:1"}, Username: "u", PasswordFile: empty}, []string{"in clear"}},
		{etcdstore.Config{Endpoints: []string{"http://127.0.0.1:1"}, CAFile: empty}, []string{"without TLS"}},
	} {
		s, err := etcdstore.Open(tt.cfg)
		if err == nil {
			_ = s.Close()
			t.Errorf("%+v: no error", tt.cfg)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q does not say %q", tt.cfg, err, want)
			}
		}
	}
}
