package core_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// window is how many octets of a form are looked for at first.
const window = 16

// A haystack finds forms of texts in what was written.
type haystack struct {
	forms map[[window]byte][]form
}

type form struct {
	octets []byte
	what   string
}

func (h *haystack) add(what string, octets []byte) {
	key := [window]byte(octets[:window])
	h.forms[key] = append(h.forms[key], form{octets, what})
}

// addText adds every form in which a text might be written: none is ever.
func (h *haystack) addText(text *secret.Text) {
	canonical, grouped := text.Canonical(), text.Grouped()
	for what, s := range map[string]string{
		"canonical": canonical, "grouped": grouped, "upper case": strings.ToUpper(canonical), "grouped upper case": strings.ToUpper(grouped),
		"hex": hex.EncodeToString([]byte(canonical)), "hex of the grouped": hex.EncodeToString([]byte(grouped)),
	} {
		h.add(what, []byte(s))
	}
	for _, s := range []string{canonical, grouped} {
		for shift := range 3 { // wherever it stands in what was encoded
			coded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + s))
			h.add("base64", []byte(coded[4*min(shift, 1):len(coded)-2]))
		}
		var wide []byte
		for _, u := range utf16.Encode([]rune(s)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		h.add("UTF-16LE", wide)
		sha2, sha1, md5 := sha256.Sum256([]byte(s)), sha1.Sum([]byte(s)), md5.Sum([]byte(s))
		for what, hash := range map[string][]byte{
			"NT hash": proof.Material(proof.MethodMSCHAPv2, s), "SHA-256": sha2[:], "SHA-1": sha1[:], "MD5": md5[:],
		} {
			h.add(what, hash)
			h.add(what+" in hex", []byte(hex.EncodeToString(hash)))
			h.add(what+" in base64", []byte(base64.StdEncoding.EncodeToString(hash)))
		}
	}
}

// find returns what of the forms stands in b.
func (h *haystack) find(b []byte) (found []string) {
	for i := 0; i+window <= len(b); i++ {
		for _, f := range h.forms[[window]byte(b[i:i+window])] {
			if bytes.HasPrefix(b[i:], f.octets) {
				found = append(found, fmt.Sprintf("%s in %q", f.what, b[max(0, i-40):min(len(b), i+60)]))
			}
		}
	}
	return found
}

// TestA1NothingShowsAText makes 1,000 app passwords, does all that can be done
// with them, and looks for each in everything that was stored, recorded,
// logged, answered or refused.
func TestA1NothingShowsAText(t *testing.T) {
	var written bytes.Buffer
	f := newFixture(t, func(f *fixture) {
		f.policy.Profiles["all"] = core.Profile{Letters: secret.Long, Services: []string{"*"}, Methods: proof.Methods(), PinDevice: true}
		f.policy.Profiles["tiny"] = core.Profile{Letters: secret.Tiny, Services: []string{"radius/*"}, Methods: []proof.Method{proof.MethodMSCHAPv2}}
		f.opt.Log = slog.New(slog.NewJSONHandler(&written, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	h := &haystack{forms: map[[window]byte][]form{}}
	said := func(v ...any) {
		for _, v := range v {
			fmt.Fprintf(&written, "%+v\n", v)
			json.NewEncoder(&written).Encode(v)
		}
	}
	for i := range 25 {
		f.useAll(fmt.Sprintf("user%d", i), h, said)
	}
	must(t, f.Flush(f.ctx))
	f.mu.Lock()
	for _, e := range f.events {
		said(e)
	}
	f.mu.Unlock()
	for _, e := range f.store.all(t) {
		fmt.Fprintf(&written, "%s\n%s\n", e.Key, e.Value)
	}
	if n := len(h.forms); n < 20_000 {
		t.Fatalf("only %d forms are looked for", n)
	}
	if found := h.find(written.Bytes()); len(found) > 0 {
		t.Errorf("%d forms of texts were written in %d octets, first: %s", len(found), written.Len(), strings.Join(found[:min(3, len(found))], "\n"))
	}

	text, err := secret.Generate(zeros{}, secret.Standard)
	must(t, err)
	h.addText(&text) // that this would be found
	for form, b := range map[string]string{
		"canonical": "x" + text.Canonical(), "grouped": `"` + text.Grouped() + `"`, "base64": base64.StdEncoding.EncodeToString([]byte("ab" + text.Canonical() + "z")),
		"NT hash": string(proof.Material(proof.MethodMSCHAPv2, text.Canonical())),
	} {
		if found := h.find([]byte(b)); len(found) == 0 {
			t.Errorf("a text that was written in the form %s is not found", form)
		}
	}
}

// useAll makes 40 app passwords for one account, and does with them, and with
// their texts in the wrong places, what can be done.
func (f *fixture) useAll(account string, h *haystack, said func(...any)) {
	f.t.Helper()
	_, err := f.AddAccount(f.ctx, account, []string{"staff"}, []byte(mainPassword))
	must(f.t, err)
	uri, err := f.Enroll(f.ctx, account)
	must(f.t, err)
	c, err := f.Confirm(f.ctx, account, codeOf(f.t, uri, f.clock()), core.NewAppPassword{})
	must(f.t, err)
	h.addText(&c.FirstText)
	said(*c.First, c.FirstText, fmt.Sprintf("%#v %x", c, c.FirstText))
	for i := range core.MaxLimit - 1 {
		made, text, err := f.Create(f.ctx, account, core.NewAppPassword{Name: fmt.Sprint("device ", i), Profile: []string{"", "all", "tiny"}[i%3]})
		must(f.t, err)
		h.addText(&text)
		said(text, &text)
		if i%4 == 0 {
			f.misuse(account, made, &text, i/4, said)
		}
		switch i % 5 {
		case 1:
			_, err = f.Suspend(f.ctx, account, made.ID)
		case 2:
			var fresh secret.Text
			made, fresh, err = f.Rotate(f.ctx, account, made.ID, time.Hour)
			h.addText(&fresh)
			said(made, fresh)
		case 3:
			_, err = f.Delete(f.ctx, account, made.ID)
		}
		must(f.t, err)
	}
	list, err := f.List(f.ctx, account)
	said(list, err)
	attempts, err := f.Attempts(f.ctx, account)
	said(attempts, err)
	a, err := f.Account(f.ctx, account)
	said(a, err)
	gone, err := f.DeleteAll(f.ctx, "user0")
	said(gone, err)
}

// misuse presents a text, and puts it where it does not belong.
func (f *fixture) misuse(account string, made core.AppPassword, text *secret.Text, i int, said func(...any)) {
	typed := []string{text.Canonical(), text.Grouped(), strings.ToUpper(text.Canonical()), text.Canonical()[1:] + "x"}[i%4]
	attempts := []core.Attempt{
		{Account: account, Proof: proof.Cleartext(typed), Service: "radius/vpn1", Device: "d"},
		{Account: typed, Proof: proof.Cleartext(typed), Service: "radius/vpn1"},
		{Account: []string{typed + "\x00", "\n" + typed, typed + strings.Repeat(" ", 300)}[i%3], Proof: proof.Cleartext(typed), Service: "radius/vpn1"},
		{Account: account, Proof: trial{text: text.Canonical()}, Service: "radius/vpn1", Device: "d"},
	}
	for _, a := range attempts {
		g, err := f.Verify(f.ctx, a)
		said(g, err)
	}
	if i%4 == 3 {
		return // a text that lost its first letter is none of ours
	}
	_, _, err := f.Create(f.ctx, account, core.NewAppPassword{Name: typed})
	said(err)
	_, _, err = f.Create(f.ctx, account, core.NewAppPassword{Name: "x", Profile: typed})
	said(err)
	_, _, err = f.Create(f.ctx, typed, core.NewAppPassword{Name: "x"})
	said(err)
	_, err = f.Delete(f.ctx, account, typed)
	said(err)
	_, err = f.AddAccount(f.ctx, typed, nil, []byte(typed))
	said(err)
	_, err = f.List(f.ctx, typed)
	said(err)
	said(f.CheckCode(f.ctx, account, typed), f.CheckCode(f.ctx, typed, typed), f.Exists(f.ctx, typed), f.SetMainPassword(f.ctx, account, []byte(typed)))
	_, err = f.Attempts(f.ctx, typed)
	said(err, made)
	said(core.Shown(typed))
}
