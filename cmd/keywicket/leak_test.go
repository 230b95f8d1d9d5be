package main_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// A search looks for many needles at once. Its first three octets choose what a
// place is compared with.
type search struct {
	begins  []uint64 // a bit for each value of three octets
	needles map[[3]byte][]needle
}

type needle struct {
	octets []byte
	what   string
}

func newSearch() *search {
	return &search{begins: make([]uint64, 1<<24/64), needles: map[[3]byte][]needle{}}
}

func (s *search) add(what string, octets []byte) {
	begin := [3]byte(octets)
	s.needles[begin] = append(s.needles[begin], needle{octets, what})
	i := index(begin)
	s.begins[i/64] |= 1 << (i % 64)
}

func index(b [3]byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// find returns what is in text.
func (s *search) find(text []byte) (found []string) {
	for at := 0; at+3 <= len(text); at++ {
		if text[at] == 0 { // most of a store that was made large in advance
			at += zeros(text[at:]) - 1
			continue
		}
		begin := [3]byte(text[at : at+3])
		i := index(begin)
		if s.begins[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		for _, n := range s.needles[begin] {
			if bytes.HasPrefix(text[at:], n.octets) {
				found = append(found, fmt.Sprintf("%s at %d", n.what, at))
			}
		}
	}
	return found
}

// zeros returns how many octets of 0 text begins with.
func zeros(text []byte) int {
	empty := make([]byte, 4096)
	n := 0
	for len(text)-n >= len(empty) && bytes.Equal(text[n:n+len(empty)], empty) {
		n += len(empty)
	}
	for n < len(text) && text[n] == 0 {
		n++
	}
	return n
}

// forms returns every form in which a text could have been written somewhere.
func forms(text string) map[string][]byte {
	wide := make([]byte, 0, 2*len(text))
	for _, unit := range utf16.Encode([]rune(text)) {
		wide = binary.LittleEndian.AppendUint16(wide, unit)
	}
	ntHash := proof.Material(proof.MethodMSCHAPv2, text)
	upper := strings.ToUpper(text)
	all := map[string][]byte{
		"plain": []byte(text), "upper case": []byte(upper), "UTF-16LE": wide,
		"hex": []byte(hex.EncodeToString([]byte(text))), "hex in upper case": []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))),
		"NT hash": ntHash, "NT hash in hex": []byte(hex.EncodeToString(ntHash)),
	}
	for at := 4; at < len(text); at += 4 {
		for _, gap := range []string{"-", " "} {
			all[fmt.Sprintf("part at %d with %q", at, gap)] = []byte(text[at-4:at] + gap + text[at:min(at+4, len(text))])
		}
	}
	// Base64 of a text that has 0, 1 or 2 octets before it: without the first
	// and the last letters, which those and what follows change.
	for shift := range 3 {
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + text))
		all[fmt.Sprint("base64 after ", shift)] = []byte(coded[4 : len(coded)-4])
	}
	return all
}

func (s *search) addText(what, text string) {
	for form, octets := range forms(text) {
		s.add(what+", "+form, octets)
	}
}

// Every form is found, wherever it stands.
func TestSearchFinds(t *testing.T) {
	const text = "kfmwtbrqhjaxpdnesgcy"
	s := newSearch()
	s.addText("it", text)
	for form, octets := range forms(text) {
		for _, around := range [][]byte{octets, bytes.Join([][]byte{make([]byte, 9000), octets, {0}}, nil), append([]byte("kfmkf"), octets...)} {
			if len(s.find(around)) == 0 {
				t.Errorf("%s is not found", form)
			}
		}
	}
	for before := range 3 {
		if coded := base64.StdEncoding.EncodeToString([]byte("abc"[:before] + text + "more")); len(s.find([]byte(coded))) == 0 {
			t.Errorf("base64 after %d octets is not found", before)
		}
	}
	if found := s.find([]byte("kfmw tbrx kfmwtbrqhjaxpdnesgcx")); len(found) > 0 {
		t.Errorf("found in other text: %v", found)
	}
}

// A thousand app passwords are made, shown, used and refused, at the level of
// the log that says most: the data and the log hold none of them in any form
// (rule A1, S1, S13, R27), nor the other secrets that went through.
func TestNoSecretIsKept(t *testing.T) {
	const accounts, each = 25, 40
	s := newSite(t, "[profile.vpn]", "letters = 28")
	s.edit(`#level = "info"`, `level = "debug"`)
	s.start()
	d, needles := s.dial(), newSearch()
	needles.addText("shared secret", s.secret("vpn1"))
	for i := range accounts {
		enroll := func(name string) owner { return s.enrollQuickly(d, name) }
		if i == 0 { // once with the verbs, so that what they print is no other way
			enroll = func(name string) owner { return s.enroll(name) }
		}
		o := enroll(fmt.Sprintf("user%d@contoso.com", i))
		s.addOwner(needles, o)
		for j := range each - 1 {
			r := createRequest(o.name, fmt.Sprintf("device %d", j))
			if j%2 == 1 {
				r.Profile = "vpn"
			}
			made, err := d.Create(t.Context(), r)
			must(t, err)
			needles.addText(fmt.Sprintf("app password %d of %s", j, o.name), made.Password)
			s.use(d, o.name, made, j)
		}
	}
	s.ok(mainPassword+"\n", "user", "set-password", "user0@contoso.com")
	time.Sleep(2 * time.Second) // until failures are answered again
	s.expect(reject, "user0@contoso.com", mainPassword)
	needles.addText("main password", mainPassword)
	s.ok("", "app-password", "list", "user0@contoso.com")
	s.ok("", "why", "user0@contoso.com")
	s.stop()
	s.searchFor(needles)
}

// addOwner adds the secrets of an enrolment.
func (s *site) addOwner(needles *search, o owner) {
	s.t.Helper()
	needles.addText("first app password of "+o.name, o.first.Password)
	for _, code := range o.recovery {
		needles.addText("recovery code of "+o.name, code)
		needles.addText("recovery code of "+o.name, strings.ReplaceAll(code, "-", ""))
	}
	u, err := url.Parse(o.uri)
	must(s.t, err)
	key := u.Query().Get("secret")
	octets, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key)
	must(s.t, err)
	needles.addText("TOTP key of "+o.name, key)
	needles.add("octets of the TOTP key of "+o.name, octets)
}

// use does something with every tenth app password: it signs in right, wrong,
// as the name of the account, or is deleted first.
func (s *site) use(d control, account string, made *controlv1.CreateResponse, i int) {
	s.t.Helper()
	ctx := s.t.Context()
	switch i % 10 {
	case 0:
		_, err := s.exchange(ctx, "127.0.0.1", s.secret("vpn1"), account, made.Password)
		must(s.t, err)
	case 1:
		_, err := d.Verify(ctx, &controlv1.VerifyRequest{Account: "nobody@contoso.com", Password: strings.ToUpper(made.Password), Service: "radius/vpn1"})
		must(s.t, err)
	case 2:
		// Beyond 200 failures a second there is silence, and there are many.
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := s.exchange(soon, "127.0.0.1", s.secret("vpn1"), made.Password, made.Password)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.t.Fatal(err)
		}
	case 3:
		_, err := d.Delete(ctx, &controlv1.AppPasswordRequest{Account: account, AppPassword: made.AppPassword.Id})
		must(s.t, err)
		_, err = d.Verify(ctx, &controlv1.VerifyRequest{Account: account, Password: made.Password, Service: "radius/vpn1"})
		must(s.t, err)
	case 4: // typed into the wrong field
		_, _ = d.Create(ctx, createRequest(account, made.Password))
		_, _ = d.Create(ctx, createRequest(made.Password, "x"))
		_, _ = d.Delete(ctx, &controlv1.AppPasswordRequest{Account: account, AppPassword: made.Password})
		_, _ = d.Verify(ctx, &controlv1.VerifyRequest{Account: made.Password, Password: "x", Service: "radius/vpn1"})
	}
}

// searchFor looks into every file of the data directory and into the log.
func (s *site) searchFor(needles *search) {
	s.t.Helper()
	octets := 0
	look := func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		octets += len(text)
		for _, found := range needles.find(text) {
			s.t.Errorf("%s holds the %s", path, found)
		}
		return err
	}
	must(s.t, filepath.WalkDir(s.path("data"), look))
	must(s.t, filepath.WalkDir(s.path("stderr.log"), look))
	if octets < 1<<20 {
		s.t.Errorf("only %d octets were searched", octets)
	}
}
