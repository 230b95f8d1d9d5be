package main

import (
	"fmt"

	"github.com/keywicket/keywicket/bridges/radius"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/config"
)

// dictionaryOf reads the administrator's dictionaries beside what is built in.
// It is nil where they have faults.
func dictionaryOf(f *config.File, faults *config.Faults) *radius.Dictionary {
	if f.Radius == nil {
		return radius.BuiltinDictionary()
	}
	d, found := radius.NewDictionary(f.Radius.Dictionary, readDictionary)
	if len(found) == 0 {
		return d
	}
	for _, fault := range found {
		if fault.Line == 0 { // the file itself: say who names it
			*faults = append(*faults, f.Fault(fault.Text, "radius", "dictionary"))
			continue
		}
		*faults = append(*faults, config.Fault{File: fault.File, Line: fault.Line, Text: fault.Text})
	}
	return nil
}

// replyChecker returns what says whether an app password can have an attribute.
func replyChecker(d *radius.Dictionary) func(core.Reply) error {
	return func(r core.Reply) error {
		_, err := d.ParseReply(r.Name, r.Value)
		return err
	}
}

// dictionaryMax bounds one file of a dictionary, in octets.
const dictionaryMax = 4 << 20

func readDictionary(path string) ([]byte, error) { return config.ReadFile(path, dictionaryMax) }

// replySets returns what groups and profiles add to an answer.
func replySets(f *config.File, d *radius.Dictionary, faults *config.Faults) radius.Replies {
	r := radius.Replies{Groups: map[string][]radius.Attribute{}, Profiles: map[string][]radius.Attribute{}}
	for _, g := range f.Groups {
		r.Groups[g.Name] = replies(f, d, faults, g.Reply, "group", g.Name)
	}
	for _, p := range f.Profiles {
		r.Profiles[p.Name] = replies(f, d, faults, p.Reply, "profile", p.Name)
	}
	return r
}

// replies turns names and texts into attributes. Where d is nil the names are
// not known for another fault.
func replies(f *config.File, d *radius.Dictionary, faults *config.Faults, from []config.Attribute, table ...string) []radius.Attribute {
	var all []radius.Attribute
	if d == nil {
		return all
	}
	fault := func(text string, key ...string) {
		*faults = append(*faults, f.Fault(text, append(append(table[:len(table):len(table)], "reply"), key...)...))
	}
	octets, spelled := 0, map[string]string{} // a name as it was written, by the name
	for _, a := range from {
		for _, value := range a.Values {
			attribute, err := d.ParseReply(a.Name, value)
			if err != nil {
				fault(err.Error(), a.Name)
				continue
			}
			if before, ok := spelled[attribute.Name()]; ok && before != a.Name {
				fault("it stands there as "+before+" already; put all its values into one list", a.Name)
				break
			}
			spelled[attribute.Name()] = a.Name
			octets += attribute.Octets()
			all = append(all, attribute)
		}
	}
	if octets > radius.MaxReply {
		fault(fmt.Sprintf("these attributes have %d octets, and an answer has room for %d; leave some out", octets, radius.MaxReply))
	}
	return all
}
