package main_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPluginGuide builds the plugin of the guide from the guide's own text, and
// checks it with the accounts that the guide gives it.
func TestPluginGuide(t *testing.T) {
	guide := readFile(t, "../../plugins/README.md")
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(guide)
	accounts := regexp.MustCompile(`(?s)accounts.toml <<'END'\n(.*?)END`).FindStringSubmatch(guide)
	if program == nil || accounts == nil {
		t.Fatal("the guide has no program, or no accounts")
	}
	lines := 0
	for line := range strings.Lines(program[1]) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > 30 {
		t.Errorf("the guide's plugin has %d lines", lines)
	}
	s := newSite(t)
	build := func(changes ...string) {
		t.Helper()
		text := strings.NewReplacer(changes...).Replace(program[1])
		if len(changes) > 0 && text == program[1] {
			t.Fatalf("%q is not in the guide", changes)
		}
		writeFile(t, s.path("main.go"), text)
		if out, err := exec.Command("go", "build", "-o", s.path("people"), s.path("main.go")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	writeFile(t, s.path("accounts.toml"), accounts[1])
	build()
	s.ok("", "plugin", "check", s.path("people"), "--accounts", s.path("accounts.toml"))
	// The same with one promise broken: the suite must see it.
	build("!who.Enabled || ", "who.Enabled && ")
	if r := s.run("", "plugin", "check", s.path("people"), "--accounts", s.path("accounts.toml")); r.code != 1 || !strings.Contains(r.out, "broken       password/disabled") {
		t.Errorf("a disabled account is let in: %s", r)
	}
	// And one that says something where the host reads.
	build("func main() {\n", "func main() {\n\tprintln(\"to standard error\")\n\tos.Stdout.WriteString(\"starting up\\n\")\n", `import (`, "import (\n\t\"os\"\n")
	r := s.refused(3, `it printed to standard output is not the one of a plugin: "starting up"`, "", "plugin", "check", s.path("people"))
	if !strings.Contains(r.err, "to standard error") {
		t.Errorf("what it says is not shown: %s", r)
	}
}

// TestPluginPython: a directory that is not written in Go keeps the contract.
func TestPluginPython(t *testing.T) {
	err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf, cryptography").Run()
	if _, missing := exec.LookPath("protoc"); err != nil || missing != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-grpcio, python3-protobuf, python3-cryptography and protobuf-compiler are needed")
		}
		t.Skip("needs python3-grpcio, python3-protobuf, python3-cryptography and protobuf-compiler")
	}
	s := newSite(t)
	path := s.path("directory.pyz")
	if out, err := exec.Command("../../plugins/python-directory/build", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hash := func(password string) string {
		c := exec.Command(path, "hash")
		c.Stdin = strings.NewReader(password + "\n")
		out, err := c.Output()
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	writeFile(t, s.path("people.json"), `{
"`+alain+`": {"id": "1", "enabled": true, "groups": ["staff"], "password": "`+hash("right one")+`"},
"`+beate+`": {"id": "2", "enabled": false, "groups": ["staff"], "password": "`+hash("wrong one")+`"}}`)
	writeFile(t, s.path("settings.toml"), `path = "`+s.path("people.json")+`"`)
	writeFile(t, s.path("fixture.toml"), `enabled = { name = "`+alain+`", password = "right one", groups = ["staff"] }
disabled = { name = "`+beate+`", password = "wrong one", groups = ["staff"] }
absent = { name = "nobody@contoso.com" }
`)
	s.ok("", "plugin", "check", path, "--kind", "directory", "--settings", s.path("settings.toml"), "--accounts", s.path("fixture.toml"))
	s.refused(3, "path is the one setting", "", "plugin", "check", path)
}
