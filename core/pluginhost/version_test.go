package pluginhost_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/pluginhost"
)

// TestVersions: a host and a plugin, either of which may be the later one, agree
// on the latest version that both speak, or say that there is none.
func TestVersions(t *testing.T) {
	for name, c := range map[string]struct {
		host []int // besides 1
		mode string
		want string
	}{
		"an old plugin and a later host":   {[]int{2}, "store", ""},
		"a later plugin and an old host":   {nil, "both-versions", "speaking 1"},
		"both are later":                   {[]int{2}, "both-versions", "speaking 2"},
		"a plugin that left the old alone": {[]int{2}, "later-version", "speaking 2"},
		"none in common":                   {nil, "later-version", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := pluginhost.New(pluginhost.Options{Dir: socketDir(t), Restart: pluginhost.Restart{First: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			})
			h.Speak(c.host...)
			if err := h.Set(t.Context(), []pluginhost.Spec{specOf(t, pluginhost.KindStore, c.mode)}); err != nil {
				t.Fatal(err)
			}
			err = h.WaitFirst(t.Context(), "p")
			if c.want == "none" {
				if err == nil || !strings.Contains(err.Error(), "incompatible API version") {
					t.Errorf("it says %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := h.Status()[0]; c.want != "" && s.Version != c.want {
				t.Errorf("it is %q, want %q", s.Version, c.want)
			}
		})
	}
}
