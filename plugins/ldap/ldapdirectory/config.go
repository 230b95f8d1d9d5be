package ldapdirectory

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/keywicket/keywicket/plugins/sdk"
)

// A Config says where the servers are and what their entries mean.
type Config struct {
	// URLs are the servers: "ldaps://ldap.example". The first that answers is
	// used. One with ldap:// needs StartTLS, or AllowPlaintext.
	URLs           []string `json:"urls"`
	StartTLS       bool     `json:"starttls"`
	AllowPlaintext bool     `json:"allow_plaintext"` // passwords can be read on the way
	CAFile         string   `json:"ca_file"`         // who signs the servers' certificates; empty: the system's
	CertFile       string   `json:"cert_file"`       // our certificate and its key, PEM; empty: none
	KeyFile        string   `json:"key_file"`

	BindDN           string `json:"bind_dn"`            // who searches; empty: nobody in particular
	BindPasswordFile string `json:"bind_password_file"` // its first line

	// ActiveDirectory changes what is left empty below to what is usual there,
	// and makes userAccountControl and accountExpires count.
	ActiveDirectory bool `json:"active_directory"`

	BaseDN        string   `json:"base_dn"`        // where accounts are, and below it
	UserFilter    string   `json:"user_filter"`    // which entries are accounts; empty: (objectClass=person)
	NameAttribute string   `json:"name_attribute"` // empty: uid, or userPrincipalName
	IDAttribute   string   `json:"id_attribute"`   // names the entry for good; empty: entryUUID, or objectGUID
	Attributes    []string `json:"attributes"`     // to be handed on; the first value counts

	// An entry with DisabledAttribute is disabled, if that has one of
	// DisabledValues; without these, whatever it has. An entry without one of
	// EnabledValues in EnabledAttribute is disabled too.
	DisabledAttribute string   `json:"disabled_attribute"`
	DisabledValues    []string `json:"disabled_values"`
	EnabledAttribute  string   `json:"enabled_attribute"`
	EnabledValues     []string `json:"enabled_values"`

	GroupBaseDN        string `json:"group_base_dn"`        // empty: BaseDN
	GroupFilter        string `json:"group_filter"`         // empty: (objectClass=groupOfNames), or (objectClass=group)
	GroupNameAttribute string `json:"group_name_attribute"` // empty: cn
	MemberAttribute    string `json:"member_attribute"`     // with DNs; empty: member

	Timeout     time.Duration `json:"-"`           // of a call; 0: 2 s
	Connections int           `json:"connections"` // at once; 0: 4

	Now func() time.Time `json:"-"` // nil: time.Now
}

func (c Config) withDefaults() Config {
	set := func(value *string, usual, ad string) {
		if *value == "" && c.ActiveDirectory {
			*value = ad
		} else if *value == "" {
			*value = usual
		}
	}
	set(&c.UserFilter, "(objectClass=person)", "(&(objectCategory=person)(objectClass=user))")
	set(&c.NameAttribute, "uid", "userPrincipalName")
	set(&c.IDAttribute, "entryUUID", "objectGUID")
	set(&c.GroupBaseDN, c.BaseDN, c.BaseDN)
	set(&c.GroupFilter, "(objectClass=groupOfNames)", "(objectClass=group)")
	set(&c.GroupNameAttribute, "cn", "cn")
	set(&c.MemberAttribute, "member", "member")
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Connections == 0 {
		c.Connections = 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// check returns everything that is wrong with c.
func (c Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.URLs) == 0 {
		fault("urls: at least one is needed, such as ldaps://ldap.example")
	}
	for _, text := range c.URLs {
		if _, err := c.server(text); err != nil {
			fault("urls: %w", err)
		}
	}
	if c.StartTLS && c.AllowPlaintext {
		fault("starttls and allow_plaintext exclude each other")
	}
	if c.BaseDN == "" {
		fault("base_dn: it is needed, such as dc=example,dc=com")
	}
	for name, dn := range map[string]string{"base_dn": c.BaseDN, "group_base_dn": c.GroupBaseDN, "bind_dn": c.BindDN} {
		if _, err := ldap.ParseDN(dn); err != nil && !c.ActiveDirectory { // which also binds user@domain
			fault("%s: %q is no DN: %w", name, dn, err)
		}
	}
	for name, filter := range map[string]string{"user_filter": c.UserFilter, "group_filter": c.GroupFilter} {
		if _, err := ldap.CompileFilter(filter); err != nil {
			fault("%s: %q is no filter: %w", name, filter, err)
		}
	}
	for name, attribute := range map[string]string{
		"name_attribute": c.NameAttribute, "id_attribute": c.IDAttribute, "group_name_attribute": c.GroupNameAttribute, "member_attribute": c.MemberAttribute,
	} {
		if _, err := ldap.CompileFilter("(" + attribute + "=x)"); err != nil {
			fault("%s: %q is no attribute", name, attribute)
		}
	}
	pair := func(a, b bool, names string) {
		if a != b {
			fault("%s belong together", names)
		}
	}
	pair(c.CertFile == "", c.KeyFile == "", "cert_file and key_file")
	pair(c.BindDN == "", c.BindPasswordFile == "", "bind_dn and bind_password_file")
	pair(c.EnabledAttribute == "", len(c.EnabledValues) == 0, "enabled_attribute and enabled_values")
	if len(c.DisabledValues) > 0 && c.DisabledAttribute == "" {
		fault("disabled_values: it needs disabled_attribute")
	}
	if c.Timeout < 0 || c.Connections < 0 || c.Connections > 64 {
		fault("timeout has to be more than 0, connections 1 to 64")
	}
	if _, err := c.tls("localhost"); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.bindPassword(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// A server is where to connect to.
type server struct {
	host, address string
	tls           bool // from the first octet on
}

func (c Config) server(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return server{}, errors.New("one is not like ldaps://HOST or ldaps://HOST:PORT")
	}
	s := server{host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "ldaps":
		s.tls = true
		if port == "" {
			port = "636"
		}
	case "ldap":
		if !c.StartTLS && !c.AllowPlaintext {
			return server{}, fmt.Errorf("%q would carry passwords in clear: write ldaps, or set starttls = true", text)
		}
		if port == "" {
			port = "389"
		}
	default:
		return server{}, fmt.Errorf("%q begins with neither ldaps:// nor ldap://", text)
	}
	s.address = net.JoinHostPort(s.host, port)
	return s, nil
}

// tls reads the certificates for a connection to host.
func (c Config) tls(host string) (*tls.Config, error) {
	t, err := sdk.ReadTLS(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	t.ServerName = host
	return t, nil
}

func (c Config) bindPassword() (string, error) {
	return sdk.ReadSecret("bind_password_file", c.BindPasswordFile)
}
