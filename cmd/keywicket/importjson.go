package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// A jsonlReader reads accounts from lines that hold a JSON object each.
type jsonlReader struct{ lineReader }

func (j *jsonlReader) read() (importEntry, error) {
	text, e, err := j.line()
	if err != nil || len(e.faults) > 0 {
		return e, err
	}
	e.account = &controlv1.ImportAccount{Line: e.line, Enabled: true}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		e.notJSON()
		return e, nil
	}
	seen := make(map[string]bool, 4)
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		name, ok := key.(string)
		if err != nil || !ok {
			e.notJSON()
			return e, nil
		}
		if seen[name] {
			e.fault("the key %q stands there twice", cut(name))
		}
		seen[name] = true
		e.value(name, value)
	}
	if _, err := d.Token(); err != nil {
		e.notJSON()
		return e, nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		e.fault("something stands behind the object")
		e.account = nil
		return e, nil
	}
	e.bound()
	if e.nameless {
		e.account = nil
	}
	return e, nil
}

func (e *importEntry) notJSON() {
	e.account = nil
	e.fault("the line is no JSON object")
}

// value takes one value of an object. null is as good as nothing.
func (e *importEntry) value(key string, value json.RawMessage) {
	var err error
	kind := "a string"
	switch key {
	case columnName:
		err = json.Unmarshal(value, &e.account.Name)
	case columnGroups:
		kind = "an array of strings"
		err = json.Unmarshal(value, &e.account.Groups)
	case columnEnabled:
		kind = "true or false"
		err = json.Unmarshal(value, &e.account.Enabled)
	case columnHash:
		err = json.Unmarshal(value, &e.account.PasswordHash)
	case "password", "main_password":
		e.fault("the key %q is not taken: no main password may stand in a file; give its hash as %s, the PHC string of argon2id", key, columnHash)
	default:
		e.fault("there is no key %q; the keys are %s", cut(key), strings.Join(columns(), ", "))
	}
	if err == nil {
		return
	}
	e.fault("%s is not %s", key, kind)
	if key == columnName {
		e.nameless = true
	}
	e.account.Groups = nil // what was read of them would be faults too
}

// cut shortens what stands in a fault.
func cut(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
