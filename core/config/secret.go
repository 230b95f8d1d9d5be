package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// secretMax bounds what ReadSecret reads. RADIUS sets no bound; nobody types
// more than this.
const secretMax = 4096

// goodSecret is the length in octets below which a shared secret is worth a
// warning.
const goodSecret = 24

// weakSecret is the length in octets below which a shared secret can be guessed
// from one captured packet (RFC 2865, section 3, asks for 16).
const weakSecret = 16

// A Secret is a shared secret that stands in the configuration itself. It
// prints as [secret] under every verb, in JSON and in logs; an empty one is
// none.
type Secret struct {
	// A pointer, so that printing a struct around it by reflection shows an
	// address and not the text.
	text *string
}

// Bytes returns a copy of the text, or nil if there is none.
func (s Secret) Bytes() []byte {
	if s.text == nil {
		return nil
	}
	return []byte(*s.text)
}

// Format keeps the text out of everything that fmt prints.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// String keeps the text out of logs.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return "[secret]"
}

// MarshalText keeps the text out of JSON and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ClientSecret returns the shared secret of c, from its file or from the
// configuration. What is wrong with it is a Faults of one, at its line.
func (f *File) ClientSecret(c Client) ([]byte, error) {
	return f.clientSecret(c, "secret", c.SecretFile, c.InlineSecret)
}

// OldClientSecret returns the secret of before while it is still taken, at now,
// or nil: after its time nobody looks whether its file is still there.
func (f *File) OldClientSecret(c Client, now time.Time) ([]byte, error) {
	if !now.Before(c.OldSecretUntil) {
		return nil, nil
	}
	return f.clientSecret(c, "old_secret", c.OldSecretFile, c.InlineOldSecret)
}

func (f *File) clientSecret(c Client, name, file string, inline Secret) ([]byte, error) {
	key := []string{"radius", "client", c.Name, name}
	secret := inline.Bytes()
	if file != "" {
		key[3] += "_file"
		var err error
		if secret, err = ReadSecret(file); err != nil {
			return nil, Faults{f.Fault(err.Error(), key...)}
		}
	}
	if text := secretFault(secret, c.AllowWeakSecret); text != "" {
		return nil, Faults{f.Fault(text, key...)}
	}
	return secret, nil
}

// secretFault says what is wrong with a shared secret, without showing it.
func secretFault(secret []byte, allowWeak bool) string {
	switch {
	case len(secret) == 0:
		return "the secret is empty; make one with \"keywicket client new NAME\""
	case len(secret) < weakSecret && !allowWeak:
		return fmt.Sprintf("the secret has %d octets and can be guessed; take at least %d, or set allow_weak_secret = true for a device that takes no more",
			len(secret), weakSecret)
	}
	return ""
}

// oddity says what of a secret is most likely there by accident, or nothing.
func oddity(secret []byte) string {
	switch {
	case bytes.HasPrefix(secret, []byte("\uFEFF")):
		return "the secret begins with a byte order mark"
	case bytes.HasSuffix(secret, []byte("\n")):
		return "the secret has an empty line behind it"
	case bytes.ContainsAny(secret, "\r\n"):
		return "the secret has a line break in it"
	case len(bytes.Trim(secret, " \t")) != len(secret):
		return "the secret has a space or a tab before or behind it"
	case bytes.IndexByte(secret, 0) >= 0:
		return "the secret has an octet of zero in it"
	}
	return ""
}

// ReadSecret reads the secret in the file at path, without one newline at its
// end. A file that everybody may write, that is empty, or that is not a file is
// an error that says what to do. One that everybody may read is a warning:
// see Warnings.
func ReadSecret(path string) ([]byte, error) {
	file, info, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	if info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that everybody on this host can change the secret; chmod 600 it, or chmod 640 with the group of the daemon",
			path, info.Mode().Perm())
	}
	secret, err := io.ReadAll(io.LimitReader(file, secretMax+2))
	if err != nil {
		return nil, err
	}
	secret = bytes.TrimSuffix(secret, []byte("\n"))
	switch {
	case len(secret) == 0:
		return nil, fmt.Errorf("%s is empty; put the secret into it", path)
	case len(secret) > secretMax:
		return nil, fmt.Errorf("%s holds more than %d octets; give the path of a file that holds the secret alone", path, secretMax)
	case secret[len(secret)-1] == '\r':
		return nil, errors.New(path + " has line ends of Windows, which would become part of the secret; write it with a plain newline")
	}
	return secret, nil
}
