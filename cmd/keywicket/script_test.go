package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keywicket/keywicket/core"
)

const scriptDir = "../../testdata/script"

// The stories of testdata/script, which begin with what README tells.
func TestScripts(t *testing.T) {
	needRadclient(t)
	testscript.Run(t, testscript.Params{
		Dir: scriptDir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("KEYWICKET_SOCKET", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answers":       scriptAnswers,
			"authenticator": scriptAuthenticator,
			"grab":          scriptGrab,
			"replace":       scriptReplace,
		},
		RequireExplicitExec: true,
	})
}

// scriptAnswers waits until the daemon at KEYWICKET_SOCKET does.
func scriptAnswers(ts *testscript.TestScript, _ bool, _ []string) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c := exec.Command("keywicket", "status")
		c.Env = append(os.Environ(), "KEYWICKET_SOCKET="+ts.Getenv("KEYWICKET_SOCKET"))
		if c.Run() == nil {
			return
		}
	}
	ts.Fatalf("the daemon does not answer")
}

// scriptAuthenticator is the app on the telephone: "authenticator FROM TO
// [STEPS]" finds the otpauth URI in FROM, and writes the code of now, or of
// some steps later, to TO.
func scriptAuthenticator(ts *testscript.TestScript, _ bool, args []string) {
	uri := regexp.MustCompile(`otpauth://[^\s"]+`).FindString(ts.ReadFile(args[0]))
	at := time.Now()
	if len(args) > 2 && args[2] == "next" {
		at = at.Add(30 * time.Second)
	}
	code, err := core.CodeFor(uri, at)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(code+"\n"), 0o600))
}

// scriptGrab is "grab VARIABLE REGEXP FILE": the first group becomes the value.
func scriptGrab(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[2])
	m := regexp.MustCompile(args[1]).FindStringSubmatch(text)
	if m == nil {
		ts.Fatalf("%s matches nothing in:\n%s", args[1], text)
	}
	ts.Setenv(args[0], m[1])
}

// scriptReplace is "replace FILE OLD NEW", where OLD stands once.
func scriptReplace(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		ts.Fatalf("%q stands %d times in %s", args[1], n, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// Each command that README tells to type is in the script, but for the places
// and addresses of one host.
func TestReadmeIsTheScript(t *testing.T) {
	script := readFile(t, filepath.Join(scriptDir, "readme.txtar"))
	here := strings.NewReplacer("/etc/keywicket", "$ETC", "192.0.2.10", "127.0.0.1", "/usr/lib/keywicket/ldap", "/bin/true", " >>/etc/keywicket/keywicket.toml", "")
	blocks := regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(readFile(t, "../../README.md"), -1)
	lines := 0
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			line = here.Replace(strings.TrimSpace(line))
			if !strings.HasPrefix(line, "keywicket ") {
				continue
			}
			lines++
			// A script quotes as a shell does, but only with single quotes.
			if line = strings.ReplaceAll(line, `"`, "'"); !strings.Contains(script, "exec "+line) {
				t.Errorf("readme.txtar lacks: exec %s", line)
			}
		}
	}
	if lines < 8 {
		t.Errorf("only %d commands were found in README.md", lines)
	}
}
