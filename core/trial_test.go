package core_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc3079"
)

var (
	ours   = [16]byte([]byte("our challenge !!"))
	theirs = [16]byte([]byte("their challenge!"))
)

// responseOf is what a device that was given text answers to a challenge: as
// others compute it, and not core/proof.
func responseOf(m proof.Method, text string) proof.Trial {
	if m == proof.MethodCHAP {
		return &proof.CHAP{ID: 7, Challenge: ours[:], Response: md5.Sum([]byte("\x07" + text + string(ours[:])))}
	}
	return responseOfHash(proof.Material(m, text))
}

// responseOfHash is what somebody answers who knows an NT hash.
func responseOfHash(hash []byte) *proof.MSCHAPv2 {
	challenge := rfc2759.ChallengeHash(theirs[:], ours[:], []byte(alain))
	return proof.NewMSCHAPv2(ours, theirs, [24]byte(rfc2759.ChallengeResponse(challenge, hash)), alain)
}

func challengeMethods() []proof.Method {
	return []proof.Method{proof.MethodCHAP, proof.MethodMSCHAPv2}
}

// answer presents a response for alain.
func (f *fixture) answer(p proof.Proof, service string) (core.Grant, error) {
	return f.Verify(f.ctx, core.Attempt{Account: alain, Proof: p, Service: service, Device: "00:11:22:aa:bb:cc"})
}

// withMethods has a profile for each method alone, and one for all of them.
func withMethods(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t, func(f *fixture) {
		for _, m := range proof.Methods() {
			f.policy.Profiles[string(m)] = core.Profile{Letters: 20, Services: []string{"radius/vpn*"}, Methods: []proof.Method{m}}
		}
		f.policy.Profiles["all"] = core.Profile{Letters: 28, Services: []string{"radius/vpn*"}, Methods: proof.Methods()}
		f.policy.Profiles["pinned"] = core.Profile{Letters: 20, Services: []string{"radius/*"}, Methods: proof.Methods(), PinDevice: true}
	})
	f.addAlain()
	return f
}

// TestTrialsOfMany: of 40 app passwords each is found, and grant, session and
// last use are of that one.
func TestTrialsOfMany(t *testing.T) {
	f := withMethods(t)
	texts, made := map[string]string{}, map[string]core.AppPassword{}
	for i := range core.MaxLimit - 1 {
		name := fmt.Sprint("device ", i)
		made[name], texts[name] = f.create(name, []string{"all", "pinned", "chap", "mschapv2", "cleartext"}[i%5])
	}
	granted := 0
	for name, text := range texts {
		for _, m := range challengeMethods() {
			g, err := f.answer(responseOf(m, text), "radius/vpn1")
			if has := made[name].Profile; has != "all" && has != "pinned" && has != string(m) {
				wantReason(t, name+" by "+string(m), err, core.ReasonWrong)
				continue
			}
			granted++
			if err != nil || g.AppPassword != made[name].Ref || g.Profile != made[name].Profile || len(g.Session) == 0 {
				t.Errorf("%s by %s: %+v, %v", name, m, g, err)
			}
		}
	}
	if want := 8*2 + 8*2 + 8 + 8; granted != want {
		t.Errorf("%d granted, want %d", granted, want)
	}
	all, err := f.List(f.ctx, alain)
	must(t, err)
	for _, p := range all {
		switch {
		case p.Profile == "cleartext" || p.Profile == core.DefaultProfile:
			if p.LastUse != nil {
				t.Errorf("%s was used: %+v", p.Name, p.LastUse)
			}
		case p.LastUse == nil || p.LastUse.Method == proof.MethodCleartext || p.LastUse.Service != "radius/vpn1":
			t.Errorf("last use of %s: %+v", p.Name, p.LastUse)
		case p.Profile == "pinned" && p.Pin != "00:11:22:aa:bb:cc":
			t.Errorf("%s is pinned to %q", p.Name, p.Pin)
		}
	}
}

// TestTrialRules: what is right is still refused where a rule says so, and
// nothing is derived then.
func TestTrialRules(t *testing.T) {
	for _, m := range challengeMethods() {
		f := withMethods(t)
		made, text := f.create("laptop", "all")
		pinned, pinnedText := f.create("console", "pinned")
		_, lounge := f.create("elsewhere", "pinned")
		try := func(what, text, service, device string, want core.Reason) {
			t.Helper()
			p := responseOf(m, text)
			_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: p, Service: service, Device: device})
			wantReason(t, string(m)+": "+what, err, want)
			if p, ok := p.(*proof.MSCHAPv2); ok {
				if _, derived := p.Success(); derived != (want == "") {
					t.Errorf("%s: derived %v", what, derived)
				}
			}
		}
		try("right", text, "radius/vpn1", "a", "")
		try("another service", text, "radius/lounge", "a", core.ReasonWrong) // where only others fit
		try("no fitting one", text, "pam/sshd", "a", core.ReasonMethodNotEnabled)
		try("in its scope", lounge, "radius/lounge", "a", "")
		try("first device", pinnedText, "radius/vpn1", "a", "")
		try("second device", pinnedText, "radius/vpn1", "b", core.ReasonPinMismatch)
		try("upper case", strings.ToUpper(text), "radius/vpn1", "a", core.ReasonWrong)
		must(t, second(f.Suspend(f.ctx, alain, made.ID)))
		try("suspended", text, "radius/vpn1", "a", core.ReasonSuspended)
		must(t, second(f.Resume(f.ctx, alain, made.ID)))
		try("resumed", text, "radius/vpn1", "a", "")
		must(t, second(f.Delete(f.ctx, alain, pinned.ID)))
		try("deleted", pinnedText, "radius/vpn1", "a", core.ReasonWrong)
		must(t, f.SetEnabled(f.ctx, alain, false))
		try("disabled", text, "radius/vpn1", "a", core.ReasonAccountDisabled)
	}
}

// TestNarrowedProfile: a method that the profile loses works no more, and one
// that it gains does not for those that are out.
func TestNarrowedProfile(t *testing.T) {
	f := withMethods(t)
	_, text := f.create("laptop", "all")
	_, chap := f.create("switch", "chap")
	narrow := f.policy
	narrow.Profiles = maps.Clone(f.policy.Profiles)
	for name, methods := range map[string][]proof.Method{"all": {proof.MethodCHAP}, "chap": {proof.MethodCHAP, proof.MethodMSCHAPv2}} {
		p := narrow.Profiles[name]
		p.Methods = methods
		narrow.Profiles[name] = p
	}
	must(t, f.SetPolicy(narrow))
	must(t, second(f.answer(responseOf(proof.MethodCHAP, text), "radius/vpn1")))
	must(t, second(f.answer(responseOf(proof.MethodCHAP, chap), "radius/vpn1")))
	for _, text := range []string{text, chap} {
		_, err := f.answer(responseOf(proof.MethodMSCHAPv2, text), "radius/vpn1")
		wantReason(t, "MS-CHAPv2", err, core.ReasonMethodNotEnabled)
	}
}

func second[T any](_ T, err error) error { return err }

// TestR16NTHash: what an eavesdropper computes from one exchange answers other
// challenges of the same method within the same scope, and nothing else.
func TestR16NTHash(t *testing.T) {
	f := withMethods(t)
	_, text := f.create("laptop", "all") // every method, so that only the hash is in the way
	f.create("another", "pinned")        // so that there is something that fits everywhere
	hash := proof.Material(proof.MethodMSCHAPv2, text)
	if _, err := f.answer(responseOfHash(hash), "radius/vpn2"); err != nil {
		t.Fatalf("with the hash, in its scope: %v", err)
	}
	for _, service := range []string{"radius/lounge", "pam/sshd", "radius/"} {
		if _, err := f.answer(responseOfHash(hash), service); err == nil {
			t.Errorf("the hash opens %s", service)
		}
	}
	for what, form := range map[string]string{"octets": string(hash), "hexadecimal": hex.EncodeToString(hash), "upper case": strings.ToUpper(hex.EncodeToString(hash))} {
		for _, p := range []proof.Proof{
			proof.Cleartext(form), responseOf(proof.MethodCHAP, form), responseOf(proof.MethodMSCHAPv2, form),
		} {
			if _, err := f.answer(p, "radius/vpn1"); err == nil {
				t.Errorf("the hash as %s is taken for a password by %s", what, p.Method())
			}
		}
	}
	// And a captured response is none to another challenge.
	captured := responseOf(proof.MethodCHAP, text).(*proof.CHAP)
	captured.Challenge = theirs[:]
	if _, err := f.answer(captured, "radius/vpn1"); err == nil {
		t.Error("a response is right for two challenges")
	}
}

// TestMethodOfMaterial: an app password of one method works by no other, though
// its text is the same.
func TestMethodOfMaterial(t *testing.T) {
	f := withMethods(t)
	for _, has := range proof.Methods() {
		_, text := f.create(string(has), string(has))
		for _, m := range proof.Methods() {
			var p proof.Proof = proof.Cleartext(text)
			if m != proof.MethodCleartext {
				p = responseOf(m, text)
			}
			_, err := f.answer(p, "radius/vpn1")
			if (err == nil) != (m == has) {
				t.Errorf("an app password of %s by %s: %v", has, m, err)
			}
		}
	}
}

// TestDerived: the success is of the app password that matched, as others
// compute it, also in the overlap of a rotation.
func TestDerived(t *testing.T) {
	f := withMethods(t)
	var texts []string
	for i := range 5 {
		_, text := f.create(fmt.Sprint("device ", i), "all")
		texts = append(texts, text)
	}
	made, before := f.create("rotated", "mschapv2")
	_, after, err := f.Rotate(f.ctx, alain, made.ID, time.Hour)
	must(t, err)
	for _, text := range append(texts, before, after.Canonical()) {
		p := responseOf(proof.MethodMSCHAPv2, text).(*proof.MSCHAPv2)
		if _, err := f.answer(p, "radius/vpn1"); err != nil {
			t.Fatal(err)
		}
		got, ok := p.Success()
		response, err := rfc2759.GenerateNTResponse(ours[:], theirs[:], []byte(alain), []byte(text))
		must(t, err)
		want, err := rfc2759.GenerateAuthenticatorResponse(ours[:], theirs[:], response, []byte(alain), []byte(text))
		must(t, err)
		key, err := rfc3079.MakeKey(response, []byte(text), true)
		must(t, err)
		if !ok || string(got.AuthenticatorResponse[:]) != want || string(got.SendKey[:]) != string(key) {
			t.Errorf("derived %v %s %x, want %s %x", ok, got.AuthenticatorResponse, got.SendKey, want, key)
		}
	}
}

// counted counts the trials of a response.
type counted struct {
	proof.Trial
	material map[string]int
	tries    int
}

func (c *counted) Try(material []byte) bool {
	c.tries++
	c.material[string(material)]++
	return c.Trial.Try(material)
}

// TestR17ConstantTrials: 40 for whoever asks, with material of the method.
func TestR17ConstantTrials(t *testing.T) {
	f := withMethods(t)
	_, err := f.AddAccount(f.ctx, "empty", nil, nil)
	must(t, err)
	var text string
	for i := range 10 {
		_, text = f.create(fmt.Sprint("device ", i), "all")
	}
	for _, m := range challengeMethods() {
		length := len(proof.Material(m, text))
		if m == proof.MethodCHAP {
			length = 20 // those that are missing are of the usual length
		}
		for _, a := range []core.Attempt{
			{Account: alain, Service: "radius/vpn1"}, {Account: alain, Service: "pam/sshd"},
			{Account: "nobody", Service: "radius/vpn1"}, {Account: "empty", Service: "radius/vpn1"},
		} {
			for _, typed := range []string{text, otherText(t)} {
				c := &counted{Trial: responseOf(m, typed), material: map[string]int{}}
				a.Proof = c
				_, _ = f.Verify(f.ctx, a)
				if c.tries != core.MaxLimit {
					t.Errorf("%s for %s at %s: %d trials, want %d", m, a.Account, a.Service, c.tries, core.MaxLimit)
				}
				missing := 0
				for material, n := range c.material {
					if n > 1 && len(material) == length {
						missing = n
					}
				}
				if fits := a.Account == alain && a.Service == "radius/vpn1"; fits && missing != core.MaxLimit-10 || !fits && missing != core.MaxLimit {
					t.Errorf("%s for %s at %s: %d trials of a dummy of %d octets", m, a.Account, a.Service, missing, length)
				}
			}
		}
	}
}

// TestR17ConstantWork: an attempt at an account that does not exist takes as long
// as one at an account with 40 app passwords. The shortest of many is what it
// takes; what else the machine does makes the others longer.
func TestR17ConstantWork(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.opt.Recorder = nil
		f.policy.Profiles["all"] = core.Profile{Letters: 20, Services: []string{"*"}, Methods: proof.Methods()}
	})
	f.addAlain()
	for i := range core.MaxLimit - 1 {
		f.create(fmt.Sprint("device ", i), "all")
	}
	for _, m := range challengeMethods() {
		shortest := map[string]time.Duration{}
		ratio := 0.0
		for range 20 { // a busy machine needs more of them
			for range 300 {
				for _, name := range []string{alain, "nobody"} {
					a := core.Attempt{Account: name, Proof: responseOf(m, otherText(t)), Service: "radius/vpn1"}
					begun := time.Now()
					_, _ = f.Verify(f.ctx, a)
					if took := time.Since(begun); shortest[name] == 0 || took < shortest[name] {
						shortest[name] = took
					}
				}
			}
			if ratio = float64(shortest["nobody"]) / float64(shortest[alain]); ratio > 0.7 && ratio < 1.4 {
				break
			}
		}
		if t.Logf("%s: %v", m, shortest); ratio < 0.7 || ratio > 1.4 {
			t.Errorf("%s: the ratio is %.2f", m, ratio)
		}
	}
}
