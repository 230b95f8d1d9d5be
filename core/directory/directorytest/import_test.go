package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/directory"
)

// An importer is a fake that takes imports, right in everything but its fault.
type importer struct{ *fake }

func newImporter(ctx context.Context, fault string) (importer, error) {
	d, err := newFake(ctx, "")
	d.fault = fault
	return importer{d}, err
}

func (d importer) CheckImport(a directory.Import) []error {
	var faults []error
	if a.Name == "" {
		faults = append(faults, directory.ErrInvalid)
	}
	if slices.ContainsFunc(a.Groups, func(g string) bool { return g == "" || len(g) > 64 }) {
		if d.is("a group is repeated") {
			return []error{fmt.Errorf("%w: %q", directory.ErrInvalid, a.Groups)}
		}
		faults = append(faults, directory.ErrInvalid)
	}
	switch {
	case a.PasswordHash == "" || strings.HasPrefix(a.PasswordHash, "$argon2id$"):
	case d.is("any hash is taken"):
	case d.is("a hash is repeated"):
		faults = append(faults, fmt.Errorf("%w: %q", directory.ErrInvalid, a.PasswordHash))
	default:
		faults = append(faults, directory.ErrInvalid)
	}
	return faults
}

func (d importer) Import(_ context.Context, accounts []directory.Import) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(accounts) == 0 || len(accounts) > directory.MaxImport {
		return directory.ErrInvalid
	}
	seen := make(map[string]bool)
	for _, a := range accounts {
		if len(d.CheckImport(a)) > 0 || seen[a.Name] && !d.is("twice is fine") {
			if d.is("invalid leaves some") {
				d.accounts[accounts[0].Name] = &entry{Account: directory.Account{ID: "9", Name: accounts[0].Name}}
			}
			return directory.ErrInvalid
		}
		seen[a.Name] = true
		if _, exists := d.accounts[a.Name]; exists && !d.is("what exists is overwritten") && !d.is("some are made") {
			return directory.ErrConflict
		}
	}
	for _, a := range accounts {
		if _, exists := d.accounts[a.Name]; exists && d.is("some are made") {
			return directory.ErrConflict
		}
		d.next++
		password := ""
		if a.PasswordHash == importedHash && !d.is("hashes are lost") {
			password = "Correct horse, 1"
		}
		d.accounts[a.Name] = &entry{directory.Account{ID: fmt.Sprint(d.next), Name: a.Name, Enabled: a.Enabled || d.is("all are enabled"), Groups: slices.Clone(a.Groups)}, password}
		if d.is("one id for all") {
			d.accounts[a.Name].ID = "1"
		}
	}
	return nil
}

func (d importer) Exported(_ context.Context, name string) (directory.Import, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.accounts[name]
	if !ok && d.is("nobody is exported") {
		return directory.Import{}, nil
	}
	if !ok {
		return directory.Import{}, directory.ErrNotFound
	}
	a := directory.Import{Name: name, Enabled: e.Enabled, Groups: slices.Clone(e.Groups)}
	if e.password != "" {
		a.PasswordHash = importedHash
	}
	if d.is("an export has no groups") {
		a.Groups = nil
	}
	return a, nil
}

func (d importer) Export(ctx context.Context, after string, limit int) ([]directory.Import, error) {
	page, err := d.List(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	var all []directory.Import
	for _, a := range page {
		e, err := d.Exported(ctx, a.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if d.is("pages lack one") && len(all) > 1 {
		all = slices.Delete(all, 0, 1)
	}
	return all, nil
}

func TestImporterSuiteTakesWhatIsRight(t *testing.T) {
	for _, c := range ImporterCases() {
		d, err := newImporter(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context(), d, standard()); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if err := c.Check(t.Context(), d.fake, standard()); !errors.Is(err, ErrNotOffered) {
			t.Errorf("%s of an Editor alone: %v", c.Name, err)
		}
	}
}

func TestImporterSuiteFindsEveryFault(t *testing.T) {
	found := make(map[string]bool)
	for fault, want := range map[string]string{
		"hashes are lost":            "import/makes-all",
		"all are enabled":            "import/makes-all",
		"one id for all":             "import/makes-all",
		"some are made":              "import/all-or-none",
		"what exists is overwritten": "import/all-or-none",
		"invalid leaves some":        "import/invalid",
		"any hash is taken":          "import/invalid",
		"a hash is repeated":         "import/invalid",
		"a group is repeated":        "import/invalid",
		"twice is fine":              "import/invalid",
		"an export has no groups":    "import/exported-is-equal",
		"nobody is exported":         "import/exported-is-equal",
		"pages lack one":             "import/pages",
		"lists are not in order":     "import/pages",
		"pages overlap":              "import/pages",
	} {
		d, err := newImporter(t.Context(), fault)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range ImporterCases() {
			if c.Name != want {
				continue
			}
			found[want] = true
			if err := c.Check(t.Context(), d, standard()); err == nil || errors.Is(err, ErrNotOffered) {
				t.Errorf("%s: %s says %v", fault, want, err)
			}
		}
	}
	for _, c := range ImporterCases() {
		if !found[c.Name] {
			t.Errorf("%s: no fault is planted for it", c.Name)
		}
	}
}
