package sdk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/plugins/sdk"
)

// What fits fills in the struct, also where it is embedded, and what does not is
// named with what to write.
func TestDecode(t *testing.T) {
	type config struct {
		Host    string        `json:"host"`
		Port    int           `json:"port"`
		Timeout time.Duration `json:"-"`
	}
	for want, s := range map[string]sdk.Settings{
		"": {"host": "mail", "port": int64(25), "timeout": "1m30s"},
		`settings: timeout can't be "5"; write a number and its unit, such as "5s"`:   {"timeout": "5"},
		`settings: timeout can't be ""; write a number and its unit, such as "5s"`:    {"timeout": ""},
		`settings: timeout can't be 5; write a number and its unit, such as "5s"`:     {"timeout": int64(5)},
		`settings: timeout can't be ["5s"]; write a number and its unit, such as "5s`: {"timeout": []any{"5s"}},
		"settings: port can't be string":                                              {"port": "25"},
		`settings: unknown field "hosts"`:                                             {"hosts": "mail"},
	} {
		into := struct {
			config
			Timeout sdk.Duration `json:"timeout"`
		}{Timeout: 7}
		err := s.Decode(&into)
		if want == "" {
			if err != nil || into.Host != "mail" || into.Port != 25 || into.Timeout != sdk.Duration(90*time.Second) {
				t.Errorf("%+v, %v", into, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", s, err, want)
		}
	}
}
