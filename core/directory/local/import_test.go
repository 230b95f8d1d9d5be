package local

import (
	"errors"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/store/memstore"
)

func TestImporterContract(t *testing.T) {
	for _, c := range directorytest.ImporterCases() {
		t.Run(c.Name, func(t *testing.T) {
			d := New(memstore.New(), ring(t), Options{Cost: quick})
			if err := directorytest.Fill(t.Context(), d, directorytest.Standard()); err != nil {
				t.Fatal(err)
			}
			if err := c.Check(t.Context(), d, directorytest.Standard()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What does not fit into one write of the store is refused before it is tried.
func TestImportTooLarge(t *testing.T) {
	d := New(memstore.New(), ring(t), Options{})
	var all []directory.Import
	for i := range directory.MaxImport {
		a := directory.Import{Name: strings.Repeat("n", 200) + string(rune('a'+i%26)) + string(rune('a'+i/26))}
		for g := range maxGroups {
			a.Groups = append(a.Groups, strings.Repeat("\U0001F6AA", maxGroup-1)+string(rune('0'+g)))
		}
		all = append(all, a)
	}
	if err := d.Import(t.Context(), all); !errors.Is(err, directory.ErrInvalid) || !strings.Contains(err.Error(), "octets") {
		t.Errorf("import of %d large accounts: %v", len(all), err)
	}
	if err := d.Import(t.Context(), all[:8]); err != nil {
		t.Errorf("import of 8: %v", err)
	}
}
