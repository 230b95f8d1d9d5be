package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

var updateImport = flag.Bool("update-import", false, "write the .want files of testdata/import anew")

const (
	importFiles = "../../testdata/import"

	// importedHash is of "Correct horse, 1".
	importedHash = "$argon2id$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$HzRL3ft+bZTuUtmCFNwPhfeI4gKpchDgosGkgrQl0qA"
)

// in is run in another directory.
func (s *site) in(dir, stdin string, args ...string) result {
	s.t.Helper()
	return runCommand(s.t, stdin, func(c *exec.Cmd) {
		c.Dir, c.Env = dir, append(os.Environ(), "KEYWICKET_SOCKET="+s.socket())
	}, args...)
}

// accounts returns how many accounts there are.
func (s *site) accounts() (n int) {
	s.t.Helper()
	stream, err := s.dial().accounts.Export(s.t.Context(), &controlv1.ExportRequest{})
	must(s.t, err)
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return n
		}
		must(s.t, err)
		n += len(r.Accounts)
	}
}

// Every fault of a file is told with its line, none repeats what may be a
// secret, and nothing is written.
func TestImportFaults(t *testing.T) {
	s := startSite(t)
	s.ok("", "user", "add", alain)
	files, err := filepath.Glob(importFiles + "/*[^t]")
	must(t, err)
	if len(files) < 5 {
		t.Fatalf("there are only %q", files)
	}
	for _, path := range files {
		name := filepath.Base(path)
		r := s.in(importFiles, "", "user", "import", name)
		want := path + ".want"
		if *updateImport {
			must(t, os.WriteFile(want, []byte(r.err), 0o644))
		}
		if text := readFile(t, want); r.code != 1 || r.out != "" || r.err != text {
			t.Errorf("%s: %s\nwant 1 and\n%s", name, r, text)
		}
		for _, secret := range []string{"hunter", "HzRL", "argon2id$v=19$m=256", "kfmw", "\x1b", "\a"} {
			if strings.Contains(r.err, secret) {
				t.Errorf("%s: %q is repeated in\n%s", name, secret, r.err)
			}
		}
		if again := s.in(importFiles, "", "user", "import", name, "--dry-run"); again != r {
			t.Errorf("%s with --dry-run: %s", name, again)
		}
		var found struct {
			FaultCount int `json:"fault_count"`
			Made       int
			Faults     []struct {
				Line int
				Text string
			}
		}
		r = s.in(importFiles, "", "user", "import", name, "--json")
		if err := json.Unmarshal([]byte(r.out), &found); err != nil || r.code != 1 || found.FaultCount == 0 || found.FaultCount != len(found.Faults) || found.Made != 0 {
			t.Errorf("%s with --json: %v, %s", name, err, r)
		}
		for _, f := range found.Faults {
			if f.Line < 1 || f.Text == "" {
				t.Errorf("%s: fault %+v", name, f)
			}
		}
	}
	if n := s.accounts(); n != 1 {
		t.Errorf("there are %d accounts", n)
	}
}

// What is exported is equal when it was imported, in both formats, from a file
// and from a pipe.
func TestImportExportRound(t *testing.T) {
	s := startSite(t)
	for _, groups := range [][]string{nil, {"staff"}, {`a;b`, ` c `, `CONTOSO\d`, `e,"f`, `\;`}} {
		args := []string{"user", "add", fmt.Sprintf("user%d@contoso.com", len(groups))}
		for _, g := range groups {
			args = append(args, "--group", g)
		}
		s.ok("", args...)
	}
	s.ok("", "user", "disable", "user0@contoso.com")
	s.ok("name,password_hash\n\"bj\u00f6rn@contoso.com\",\""+importedHash+"\"\n", "user", "import", "-")
	want := s.ok("", "user", "export", "--with-hashes")
	if !strings.Contains(want, importedHash) {
		t.Fatalf("no hash in\n%s", want)
	}
	if r := s.run("", "user", "export", "--with-hashes"); !strings.Contains(r.err, "can guess on") {
		t.Errorf("no warning: %s", r)
	}
	if r := s.run("", "user", "export"); strings.Contains(r.out, "argon2") || strings.Contains(r.out, "hash") || r.err != "" {
		t.Errorf("without hashes: %s", r)
	}
	for _, format := range []string{"csv", "jsonl"} {
		other := startSite(t)
		path := other.path("accounts." + format)
		writeFile(t, path, s.ok("", "user", "export", "--with-hashes", "--format", format))
		if out := other.ok("", "user", "import", path, "--dry-run"); out != "4 accounts can be made. Nothing was written.\n" {
			t.Errorf("%s: %q", format, out)
		}
		if out := other.ok("", "user", "import", path); out != "Made: 4 accounts.\n" {
			t.Errorf("%s: %q", format, out)
		}
		if got := other.ok("", "user", "export", "--with-hashes"); got != want {
			t.Errorf("%s: exported\n%s\nimported and exported again\n%s", format, want, got)
		}
		other.refused(1, "passed over with --continue", "", "user", "import", path)
		if out := other.ok("", "user", "import", path, "--continue"); out != "Made: 0 accounts.\nThere already, and equal: 4 accounts.\n" {
			t.Errorf("%s: %q", format, out)
		}
		other.ok("", "user", "enable", "user0@contoso.com")
		other.refused(1, "with its state enabled", "", "user", "import", path, "--continue")
	}
}

func TestImportUsage(t *testing.T) {
	s := startSite(t)
	for _, row := range []exitRow{
		{"user import", "", 2, "the argument FILE is missing"},
		{"user import /nowhere/a.csv", "", 2, "/nowhere/a.csv"},
		{"user import /tmp", "", 2, "is a directory"},
		{"user import - --format xml", "", 2, "csv or jsonl"},
		{"user export --format xml", "", 2, "csv or jsonl"},
		{"user import -", "", 1, "the file is empty"},
		{"app-password list", "", 2, "the argument USER is missing"},
		{"app-password list a --all", "", 2, "leave USER out"},
		{"app-password list a --at-limit", "", 2, "say --all too"},
		{"app-password list --all --unused-for soon", "", 2, "no duration"},
		{"app-password list --all --status gone", "", 2, `there is no "gone"; there are active, suspended, expired, unused-expired, denied`},
		{"app-password list --all --deleted-still-tried --status active", "", 2, "that are gone"},
		{"review nobody@contoso.com", "", 1, `there is no account "nobody@contoso.com"`},
		{"review a b", "", 2, "too many"},
		{"review --unused-for 10ms", "", 2, "less than a second"},
		{"user import - --socket /nowhere/control.sock", "name\n", 3, "start"},
		{"user export --socket /nowhere/control.sock", "", 3, "start"},
		{"review --socket /nowhere/control.sock", "", 3, "start"},
		{"app-password list --all --socket /nowhere/control.sock", "", 3, "start"},
	} {
		t.Run(row.args, func(t *testing.T) { row.check(t, s.run(row.stdin, row.words()...)) })
	}
	for args, want := range map[string]string{
		"user import -":                "Made: 0 accounts.\n",
		"user import - --format jsonl": "Made: 0 accounts.\n",
		"app-password list --all --status active --at-limit --unused-for 90d --expiring-within 30d": "There are none.\n",
		"app-password list --all --json": "",
		"review":                         "There is nothing to look at.\n",
		"review --json":                  "",
		"user export":                    "name,groups,enabled\n",
		"user export --format jsonl":     "",
	} {
		stdin := "name\n"
		if strings.Contains(args, "jsonl") {
			stdin = "\n\n"
		}
		if out := s.ok(stdin, strings.Fields(args)...); out != want {
			t.Errorf("%s: %q, want %q", args, out, want)
		}
	}
}

// manyAccounts writes a file of n accounts.
func (s *site) manyAccounts(n int) string {
	s.t.Helper()
	var b bytes.Buffer
	b.WriteString("name,groups\n")
	for i := range n {
		fmt.Fprintf(&b, "user%07d@contoso.com,staff;vpn\n", i)
	}
	path := s.path("many.csv")
	writeFile(s.t, path, b.String())
	return path
}

// An import that is broken off goes on where it was: by a signal, and by the
// death of the daemon.
func TestImportContinue(t *testing.T) {
	t.Parallel()
	const n = 30000
	for how, code := range map[string]int{"signal": 1, "crash": 3} {
		t.Run(how, func(t *testing.T) {
			s := startSite(t)
			path := s.manyAccounts(n)
			c := exec.Command("keywicket", "--socket", s.socket(), "user", "import", path)
			var stderr strings.Builder
			c.Stderr = &stderr
			p := start(t, c)
			some := &controlv1.AccountRequest{Account: "user0000100@contoso.com"}
			client := s.dial().accounts
			until(t, "some accounts are made", func() bool {
				_, err := client.Get(t.Context(), some)
				return err == nil
			})
			if how == "crash" {
				s.crash()
			} else {
				p.signal(t, syscall.SIGINT)
			}
			if got := p.wait(t); got != code || !strings.Contains(stderr.String(), "Run it again with --continue") {
				t.Fatalf("exit code %d, want %d\n%s", got, code, stderr.String())
			}
			before := s.accounts()
			if before == 0 || before >= n || before%64 != 0 {
				t.Fatalf("%d of %d accounts were made", before, n)
			}
			s.refused(1, "exists already", "", "user", "import", path)
			var made, equal int
			out := s.ok("", "user", "import", path, "--continue")
			if _, err := fmt.Sscanf(out, "Made: %d accounts.\nThere already, and equal: %d accounts.\n", &made, &equal); err != nil {
				t.Fatalf("%v: %q", err, out)
			}
			// What was under way when the client left may have come after the count.
			if equal < before || made+equal != n || s.accounts() != n {
				t.Errorf("%q after %d; %d accounts", out, before, s.accounts())
			}
			s.ok("", "audit", "verify", "--config", s.config())
		})
	}
}

// The first thousand faults are told, and all are counted.
func TestImportManyFaults(t *testing.T) {
	s := startSite(t)
	const n = 2500
	path := s.path("faults.csv")
	writeFile(t, path, "name\n"+strings.Repeat("two words\n", n))
	r := s.run("", "user", "import", path)
	if lines := strings.Count(r.err, "\n"); r.code != 1 || lines != 1002 || !strings.Contains(r.err, fmt.Sprintf("and %d faults more", 2*n-1-1000)) ||
		!strings.HasPrefix(r.err, path+":2: ") || !strings.Contains(r.err, fmt.Sprintf("has %d faults", 2*n-1)) {
		t.Errorf("%d lines: %.300s … %s", lines, r.err, r.err[max(0, len(r.err)-300):])
	}
}

// BenchmarkImport100k imports 100,000 accounts through the daemon, from the
// check to the last durable write.
func BenchmarkImport100k(b *testing.B) {
	const n = 100_000
	for range b.N {
		b.StopTimer()
		s := startSite(b)
		path := s.manyAccounts(n)
		b.StartTimer()
		s.ok("", "user", "import", path)
		b.StopTimer()
		s.stop()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "accounts/s")
}
