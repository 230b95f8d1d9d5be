package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// A Sighting is a packet and what became of it, for people: no secret, and
// nothing that one can be computed from, is in it. Names and texts from outside
// are escaped.
type Sighting struct {
	Time       time.Time
	Source     netip.AddrPort
	Client     string // empty: no client has this address
	Code       string
	ID         byte
	Attributes [][2]string // names and values, in their order

	Result      string // "Access-Accept" and so on; "silence" where nothing goes out
	Wait        time.Duration
	Reply       [][2]string
	Reason      core.Reason // of the engine; empty: granted, or not asked
	AppPassword core.Ref    // that was granted
	Why         string      // what happened and what to do about it, a sentence
	Missed      uint64      // packets before this one that there was no time to show
}

// tell decodes what was seen.
func (v sight) tell() Sighting {
	told := Sighting{Time: v.at, Source: v.from, Wait: v.wait, Result: "silence", AppPassword: v.used}
	if v.client != nil {
		told.Client = v.client.Name
	}
	var request, reply packet
	good := request.parse(v.request) == dropNone
	if len(v.request) > 1 {
		told.Code, told.ID = codeText(v.request[0]), v.request[1]
	}
	if good {
		told.Attributes = v.table.show(&request)
	}
	if v.reply != nil && reply.parse(v.reply) == dropNone {
		told.Result, told.Reply = codeText(reply.code()), v.table.show(&reply)
	}
	if v.decided && v.refused != nil {
		told.Reason = core.ReasonOf(v.refused)
	}
	told.Why = v.why(&request, told.Reason)
	return told
}

// why says what happened and what to do about it.
func (v sight) why(p *packet, reason core.Reason) string {
	source := v.from.Addr()
	switch {
	case v.client == nil:
		return fmt.Sprintf("%v is not a client: no [radius.client.NAME] has this address", source)
	case v.repeat:
		return "the same request came before, and has the same answer"
	case v.drop != dropNone && !v.decided:
		return v.refusal(source)
	case v.reply != nil && v.reply[0] == codeAccountingResponse && v.foreign:
		return "answered, and not listed: it carries no Class of ours. Let the client send back every Class of the Access-Accept"
	case v.reply != nil && v.reply[0] == codeAccountingResponse:
		return "answered"
	case v.reply != nil && v.reply[0] == codeAccessAccept && p.raw != nil && p.code() == codeStatusServer:
		return "attempts can be decided"
	case !v.decided:
		return ""
	}
	var said []string
	switch {
	case v.refused == nil && v.used.ID != "":
		said = append(said, fmt.Sprintf("granted with the app password %q (%s)", printable(v.used.Name), v.used.ID))
	case v.refused == nil:
		said = append(said, "granted with the main password")
	case reason == core.ReasonMalformed:
		said = append(said, "malformed: "+malformation(p))
	case reason == core.ReasonMethodNotEnabled && v.untaken(p) != "":
		said = append(said, v.untaken(p))
	case reason != "":
		station, _ := p.find(attrCallingStationID)
		said = append(said, string(reason)+": "+reason.SentenceOf(presented(p), device(station)))
		if untaken := v.untaken(p); untaken != "" {
			said = append(said, untaken)
		}
	default:
		said = append(said, "it could not be decided; the log says more")
	}
	if v.garbled {
		said = append(said, fmt.Sprintf("its User-Password is no text: most likely the shared secret of %s differs, which without Message-Authenticator shows nowhere else", v.client.Name))
	}
	if v.drop != dropNone {
		said = append(said, v.refusal(source))
	}
	return strings.Join(said, "; ")
}

// refusal says why there is no answer.
func (v sight) refusal(source netip.Addr) string {
	name := v.client.Name
	switch v.drop {
	case dropNoMessageAuthenticator:
		return fmt.Sprintf("%s's packets carry no Message-Authenticator, and it must: turn Message-Authenticator on at the device (best), or, if it cannot send one, set require_message_authenticator to false or \"auto\" in [radius.client.%[1]s]", name)
	case dropMessageAuthenticator:
		return fmt.Sprintf("%s's packets fail their Message-Authenticator: the shared secret differs; compare the one at %v with the one here", name, source)
	case dropRequestAuthenticator:
		return fmt.Sprintf("%s's packets fail their Request Authenticator: the shared secret differs; compare the one at %v with the one here", name, source)
	case dropProxyState, dropCode:
		return refusal(v.drop)
	case dropDuplicate:
		return "the same request came before; it is still being decided, or was decided in silence"
	case dropReplay:
		return "its Request Authenticator was used in the last 5 minutes: somebody sends recorded requests, or the device makes bad random numbers (allow_repeated_authenticator takes those)"
	case dropFailureRate, dropDelayFull, dropThrottled:
		return "too many failures came from this client, so this one is not answered"
	case dropQueueFull, dropCacheFull, dropStatusRate:
		return "more came from this client than can be answered"
	case dropReport:
		return "it does not say what it reports: there must be one Acct-Status-Type and an Acct-Session-Id"
	case dropUnrecorded:
		return "it could not be recorded, so that it shall come again; the log says more"
	case dropLate, dropUnavailable, dropNotReady:
		return "it could not be decided in time, and another server may be asked; keywicket status says more"
	case dropReplyTooLarge:
		return "the answer has more reply attributes than fit; the log says more"
	case dropReplyUnknown:
		return "its app password has a reply attribute that no dictionary knows any more, and without it the answer would mean something else; add the dictionary, or make a new app password"
	case dropAmplification:
		return "the answer would be longer than the request"
	case dropLength, dropAttributes, dropTooManyAttributes:
		return "it is no well-formed RADIUS packet (" + v.drop.String() + ")"
	}
	return v.drop.String() + "; the log says more"
}

// presented returns the method in p, if that is one for which there are app passwords.
func presented(p *packet) proof.Method {
	switch only, _ := onlyMethod(p); only.(type) {
	case pap:
		return proof.MethodCleartext
	case chap:
		return proof.MethodCHAP
	case mschap2:
		return proof.MethodMSCHAPv2
	}
	return ""
}

// untaken says why the client may not use the method in p, or nothing where the
// app passwords are why.
func (v sight) untaken(p *packet) string {
	r := &request{packet: *p, facts: facts{client: v.client}}
	for _, m := range methods() {
		if _, isText := m.(pap); isText || !m.present(p) {
			continue
		}
		if p := m.proof(r); p != nil && !v.client.takes(p.Method()) {
			return v.client.whyNot(p.Method())
		}
	}
	return ""
}

// malformation says what is malformed in an attempt.
func malformation(p *packet) string {
	var present []string
	for _, m := range methods() {
		if m.present(p) {
			present = append(present, methodName(m))
		}
	}
	name, names := p.find(attrUserName)
	r := &request{packet: *p}
	switch {
	case names != 1:
		return fmt.Sprintf("it has %d User-Names", names)
	case len(name) == 0:
		return "its User-Name is empty"
	case r.asksWithoutPassword():
		return "its Service-Type asks for a service without a password"
	case len(present) == 0:
		return "there is no password in it, in no way that is known here"
	case len(present) > 1:
		return "there is more than one password in it: " + strings.Join(present, ", ")
	}
	return "its " + present[0] + " is empty, or does not have the form that the RFC gives it; where there is no Message-Authenticator, the shared secret may differ"
}

func methodName(m method) string {
	switch m.(type) {
	case pap:
		return "User-Password"
	case chap:
		return "CHAP-Password"
	case mschap:
		return "MS-CHAP-Response"
	case mschap2:
		return "MS-CHAP2-Response"
	}
	return "EAP-Message"
}

func codeText(code byte) string {
	switch code {
	case codeAccessRequest:
		return "Access-Request"
	case codeAccessAccept:
		return "Access-Accept"
	case codeAccessReject:
		return "Access-Reject"
	case codeAccessChallenge:
		return "Access-Challenge"
	case codeAccountingRequest:
		return "Accounting-Request"
	case codeAccountingResponse:
		return "Accounting-Response"
	case codeStatusServer:
		return "Status-Server"
	case codeDisconnectRequest:
		return "Disconnect-Request"
	case codeDisconnectACK:
		return "Disconnect-ACK"
	case codeDisconnectNAK:
		return "Disconnect-NAK"
	}
	return fmt.Sprint("Code ", code)
}

// show tells the attributes of p: of what can be a secret, or help to find
// one, only the length; and of what is not known, because it may be one.
func (t *table) show(p *packet) (all [][2]string) {
	words := t.config.dictionary()
	for i := range p.n {
		a := p.attribute(i)
		value := a[2:]
		if a[0] != attrVendorSpecific || len(value) < 4 {
			all = append(all, t.showOne(words, 0, a[0], value))
			continue
		}
		vendor, rest := binary.BigEndian.Uint32(value), value[4:]
		for len(rest) > 0 {
			if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
				all = append(all, [2]string{fmt.Sprintf("Vendor-Specific of vendor %d", vendor), octets(rest)})
				break
			}
			all = append(all, t.showOne(words, vendor, rest[0], rest[2:rest[1]]))
			rest = rest[rest[1]:]
		}
	}
	return all
}

func (t *table) showOne(words *Dictionary, vendor uint32, kind byte, value []byte) [2]string {
	told := words.describe(vendor, kind, value)
	e, known := words.numbered(vendor, uint32(kind))
	switch {
	case !known || e.hushed(value):
		told[1] = octets(value)
	case e.isText(), vendor == 0 && kind == attrClass:
		told[1] = `"` + t.name(string(value)) + `"`
		if t.config.Redact != nil && e.tagged && len(value) > 0 && value[0] <= maxTag {
			told[1] = `"` + t.name(string(value[1:])) + `"`
		}
	}
	return told
}

func octets(value []byte) string { return fmt.Sprintf("(%d octets)", len(value)) }

// hushed says whether a value may be a secret, or help to find one. Class and
// State of ours are sealed; a Class that the administrator wrote is text.
func (e entry) hushed(value []byte) bool {
	if e.encrypt != 0 || e.secret || e.kind == typeOther {
		return true
	}
	if e.vendor.number == 0 {
		switch e.number {
		case attrClass:
			return !isText(value)
		case attrCHAPPassword, attrState, attrProxyState, attrCHAPChallenge, attrARAPPassword, attrEAPMessage, attrMessageAuthenticator:
			return true
		}
	}
	if e.vendor.number == vendorMicrosoft && strings.HasPrefix(e.name, "MS-CHAP") {
		return e.number != msCHAPError
	}
	hush := func(s string) bool {
		s = strings.ToLower(s)
		for _, word := range []string{"password", "passwd", "passphrase", "secret", "psk", "key"} {
			if strings.Contains(s, word) {
				return true
			}
		}
		return false
	}
	return hush(e.name) || strings.Contains(strings.ToLower(e.name), "avpair") && hush(string(value))
}
