package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/pluginhost"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at a configuration"}
	cmd.AddCommand(a.configCheck())
	return cmd
}

func (a *app) configCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration, each with file and line",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && a.configPath != "" { // where every other command has it
				return nil
			}
			return exactArgs("FILE")(cmd, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path := a.configPath
			if len(args) > 0 {
				path = args[0]
			}
			f, err := loadWhole(path)
			var warnings config.Faults
			if err == nil {
				warnings = append(append(f.Warnings(), placed(f.File, f.radius.Warnings())...), notHere(f.File)...)
			}
			if asJSON {
				var faults config.Faults
				if err != nil && !errors.As(err, &faults) {
					return err
				}
				return errors.Join(a.printJSON(map[string]any{"faults": toFaultsJSON(faults), "warnings": toFaultsJSON(warnings)}), err)
			}
			if err != nil {
				return err
			}
			for _, w := range warnings {
				a.printf("warning: %s\n", sanitize(w.Error()))
			}
			a.printf("%s has no faults.\n", line(path))
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// notHere tells of what the daemon, or a plugin, does not start without and which is not
// here. It is no fault: the disk may not be mounted, and the file be meant for another host. A
// credential is there only while the daemon is.
func notHere(f *config.File) (warnings config.Faults) {
	warn := func(text string, key ...string) { warnings = append(warnings, f.Fault(text, key...)) }
	info, err := os.Stat(f.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		warn(f.DataDir+" is not there, and the daemon does not start without it; is its disk mounted?", "data_dir")
	case err == nil && !info.IsDir():
		warn(f.DataDir+" is no folder, and the daemon does not start with it", "data_dir")
	}
	switch _, err := keyring.ReadFile(f.Keyring); {
	case err == nil, errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(f.Keyring, "/run/credentials/"):
	case errors.Is(err, fs.ErrNotExist):
		warn(f.Keyring+" is not there, and the daemon does not start without it; restore it from its copy", "keyring")
	case errors.Is(err, fs.ErrPermission):
		warn("this user may not read it, and the daemon must: "+err.Error(), "keyring")
	default:
		warn("the daemon does not start with it: "+err.Error(), "keyring")
	}
	if info, err := os.Stat(f.Audit.Path); err == nil && !info.IsDir() {
		warn(f.Audit.Path+" is no folder, and the daemon does not start with it", "audit", "path")
	}
	warnSocket(f.Control.Socket, "control", "socket", warn)
	warnSocket(f.Control.SelfService, "control", "self_service", warn)
	if f.PAM != nil {
		warnSocket(f.PAM.Socket, "pam", "socket", warn)
	}
	for _, p := range f.Plugins {
		switch sum, err := pluginhost.Sum(p.Path); {
		case err != nil:
			warn("the plugin does not run: "+err.Error(), "plugin", p.Name, "path")
		case sum != p.SHA256:
			warn(fmt.Sprintf("the plugin does not run: %s has another sum; if the change is meant, \"keywicket plugin pin %s\" writes the new line", p.Path, word(p.Path)), "plugin", p.Name, "sha256")
		}
	}
	return warnings
}

// warnSocket tells where no socket can be made. The folders in /run are made by who
// starts the daemon.
func warnSocket(path, section, key string, warn func(string, ...string)) {
	if path == "" {
		return
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		warn(path+" is there and is no socket, and the daemon does not start with it; choose another path", section, key)
	}
	if dir := filepath.Dir(path); !strings.HasPrefix(dir, "/run/") {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			warn("the folder "+dir+" is not there, and the daemon does not start without it; make it, or choose another path", section, key)
		}
	}
}

// A faultJSON is one thing wrong at one line.
type faultJSON struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`
}

func toFaultsJSON(faults config.Faults) []faultJSON {
	all := []faultJSON{}
	for _, f := range faults {
		all = append(all, faultJSON{f.File, f.Line, f.Key, f.Text})
	}
	return all
}

// A setup is a configuration without faults, and what was made of it to find them:
// the dictionaries and secrets that it names are read once.
type setup struct {
	*config.File
	radius radius.Config // without [radius] the dictionary and the replies
}

// loadWhole is loadConfig that also tells the faults which only the parts find,
// all in one. A line that has a fault already is not looked at once more: what
// follows from one fault is no other.
func loadWhole(path string) (*setup, error) {
	f, err := config.Load(path)
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, unreadConfig(err)
	}
	if f == nil { // not even TOML
		return nil, err
	}
	c, foundLater := radiusConfig(f)
	told := len(faults)
	for _, found := range foundLater {
		if !slices.ContainsFunc(faults[:told], func(known config.Fault) bool { return sameMatter(known, found) }) && !slices.Contains(faults, found) {
			faults = append(faults, found)
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &setup{f, c}, nil
}

// sameMatter says whether both are about one place of one file: one key, a table
// and a key in it, or a secret and its file.
func sameMatter(a, b config.Fault) bool {
	in := func(a, b string) bool {
		return strings.TrimSuffix(a, "_file") == strings.TrimSuffix(b, "_file") || strings.HasPrefix(b, a+".")
	}
	return a.File == b.File && a.Line == b.Line && (in(a.Key, b.Key) || in(b.Key, a.Key))
}
