package config

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Warnings returns what a good configuration should better not say, in the form
// of faults. They stop nothing.
func (f *File) Warnings() []Fault {
	var all []Fault
	if f.PAM != nil && len(f.PAM.Services) == 0 {
		all = append(all, f.Fault("no service is listed, so that nobody can sign in over PAM", "pam", "services"))
	}
	if f.PAM != nil {
		for _, service := range f.PAM.Services {
			if slices.Contains([]string{"login", "su", "su-l", "sudo", "sudo-i", "polkit-1"}, service) {
				all = append(all, f.Fault(fmt.Sprintf("an app password is one factor and lies in a device, and with %q listed it gives more than that device needs", service), "pam", "services"))
			}
		}
		for _, name := range strangers(f.PAM.Users) {
			all = append(all, f.Fault(fmt.Sprintf("/etc/passwd has no user %q, so that it gives nobody anything; is it spelled as there?", name), "pam", "users"))
		}
		if len(f.PAM.Users) > 0 {
			all = append(all, f.Fault("whoever takes over a program of these users can try app passwords of anybody here", "pam", "users"))
		}
	}
	for _, p := range f.Profiles {
		if slices.Contains(p.Methods, MethodMSCHAPv2) && slices.Contains(p.Services, "*") {
			all = append(all, f.Fault("what is captured of MS-CHAPv2 at one service opens every other one with MS-CHAPv2; name the services", "profile", p.Name, "services"))
		}
	}
	for _, p := range f.Profiles {
		for _, pattern := range p.Services {
			if f.nowhere(pattern) {
				all = append(all, f.Fault(fmt.Sprintf("no client has the service %q, and app passwords that are made meanwhile keep it; is it spelled as in [radius.client]?", pattern), "profile", p.Name, "services"))
			}
		}
	}
	for _, p := range f.Profiles {
		if p.Sessions > 0 && (f.Radius == nil || len(f.Radius.Accounting) == 0) {
			all = append(all, f.Fault("it has no effect: nobody tells of sessions without radius.accounting", "profile", p.Name, "sessions"))
		}
	}
	all = append(all, f.openFolders()...)
	if f.Radius == nil {
		return all
	}
	if len(f.Radius.Clients) == 0 {
		all = append(all, f.Fault("there is no client, so that every packet is dropped; \"keywicket client new NAME\" starts one", "radius", "client"))
	}
	for _, c := range f.Radius.Clients {
		key := []string{"radius", "client", c.Name, "require_message_authenticator"}
		switch c.MessageAuthenticator {
		case MessageAuthenticatorOptional:
			all = append(all, f.Fault("requests need no Message-Authenticator, so that anybody on the way can make up some (CVE-2024-3596); set it to true as soon as the client sends one", key...))
		case MessageAuthenticatorAuto:
			all = append(all, f.Fault("requests need no Message-Authenticator until the client's first one; set it to true once it has sent one", key...))
		}
		if c.AllowWeakSecret {
			all = append(all, f.Fault("a short secret can be guessed from one captured packet", "radius", "client", c.Name, "allow_weak_secret"))
		} else if secret, err := f.ClientSecret(c); err == nil && len(secret) < goodSecret {
			name := "secret_file"
			if c.SecretFile == "" {
				name = "secret"
			}
			all = append(all, f.Fault(fmt.Sprintf("the secret has %d octets, which is little; \"keywicket client rotate %s\" makes one of 32 random octets", len(secret), c.Name), "radius", "client", c.Name, name))
		}
		all = append(all, f.odd(c)...)
		all = append(all, f.readable(c, "secret", c.SecretFile, c.InlineSecret)...)
		all = append(all, f.readable(c, "old_secret", c.OldSecretFile, c.InlineOldSecret)...)
		if c.AllowRepeatedAuthenticator {
			all = append(all, f.Fault("a recorded request is answered again when somebody sends it again; take it out as soon as the device has been mended", "radius", "client", c.Name, "allow_repeated_authenticator"))
		}
		switch listed := slices.Contains(c.Methods, MethodMSCHAPv2); {
		case listed && c.AllowInsecureMSCHAP:
			all = append(all, f.Fault("MS-CHAPv2 outside a tunnel: whoever captures one sign-in can compute what opens everything that its app password is for with MS-CHAPv2; put a tunnel around it as soon as the client can", "radius", "client", c.Name, "allow_insecure_mschap"))
		case listed:
			all = append(all, f.Fault("mschapv2 has no effect: outside a tunnel it wants allow_insecure_mschap, and there are no tunnels yet", "radius", "client", c.Name, "methods"))
		case c.AllowInsecureMSCHAP:
			all = append(all, f.Fault("it has no effect, because mschapv2 is not among the methods", "radius", "client", c.Name, "allow_insecure_mschap"))
		}
	}
	return all
}

// openFolders warns of folders where everybody on this host may put other files
// in place of what is there.
func (f *File) openFolders() (all Faults) {
	for _, at := range []struct{ key, path string }{{"data_dir", f.DataDir}, {"keyring", filepath.Dir(f.Keyring)}} {
		if info, err := os.Stat(at.path); err == nil && info.Mode().Perm()&0o002 != 0 {
			all = append(all, f.Fault(fmt.Sprintf("the folder %s has mode %04o, so that everybody on this host can put other files there; chmod 700 it", at.path, info.Mode().Perm()), at.key))
		}
	}
	return all
}

// nowhere says whether pattern is of the RADIUS bridge and fits no client of it.
func (f *File) nowhere(pattern string) bool {
	name, ok := strings.CutPrefix(pattern, "radius/")
	if !ok || f.Radius == nil || len(f.Radius.Clients) == 0 {
		return false
	}
	return !slices.ContainsFunc(f.Radius.Clients, func(c Client) bool {
		fits, _ := path.Match(name, c.Service) // neither has anything special but *
		return fits
	})
}

// odd warns of a secret that hardly stands in a device as it stands here: all of
// it counts, also what an editor or a copy put around it.
func (f *File) odd(c Client) (all Faults) {
	for _, s := range []struct {
		name, file string
		read       func() ([]byte, error)
	}{
		{"secret", c.SecretFile, func() ([]byte, error) { return f.ClientSecret(c) }},
		{"old_secret", c.OldSecretFile, func() ([]byte, error) { return f.OldClientSecret(c, time.Now()) }},
	} {
		secret, err := s.read()
		if err != nil {
			continue // a fault already
		}
		if s.file != "" {
			s.name += "_file"
		}
		if what := oddity(secret); what != "" {
			all = append(all, f.Fault(what+", which is part of it here; take it out, unless the device has it too", "radius", "client", c.Name, s.name))
		}
	}
	return all
}

// readable warns of a secret that everybody on this host may read.
func (f *File) readable(c Client, key, file string, inline Secret) Faults {
	mode, mend := f.mode, "chmod 640 this file, or use "+key+"_file"
	if file != "" {
		info, err := os.Stat(file)
		if err != nil {
			return nil // a fault already
		}
		mode, mend, key = info.Mode(), "chmod 600 it, or chmod 640 with the group of the daemon", key+"_file"
	}
	if mode.Perm()&0o004 == 0 || file == "" && inline.text == nil {
		return nil
	}
	return Faults{f.Fault(fmt.Sprintf("the file has mode %04o, so that everybody on this host can read the secret; %s", mode.Perm(), mend), "radius", "client", c.Name, key)}
}

// strangers returns the names that are in no line of /etc/passwd, where the PAM
// bridge looks for them.
func strangers(names []string) (unknown []string) {
	if len(names) == 0 {
		return nil
	}
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	lines := "\n" + string(text)
	for _, name := range names {
		if !strings.Contains(lines, "\n"+name+":") {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
