package pluginv1_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// contract is every method, field and enum value of version 1, as it is on the
// wire: a line each.
func contract() (lines []string) {
	file := pluginv1.File_plugins_proto_pluginv1_plugin_proto
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			stream := map[bool]string{true: " stream"}[m.IsStreamingServer()]
			lines = append(lines, fmt.Sprintf("%s %s ->%s %s", m.FullName(), m.Input().FullName(), stream, m.Output().FullName()))
		}
	}
	for i := range file.Enums().Len() {
		values := file.Enums().Get(i).Values()
		for j := range values.Len() {
			lines = append(lines, fmt.Sprintf("%s %s %d", file.Enums().Get(i).FullName(), values.Get(j).Name(), values.Get(j).Number()))
		}
	}
	var fields func(protoreflect.MessageDescriptors)
	fields = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			m := messages.Get(i)
			for j := range m.Fields().Len() {
				f := m.Fields().Get(j)
				of := ""
				if f.Message() != nil {
					of = " " + string(f.Message().FullName())
				} else if f.Enum() != nil {
					of = " " + string(f.Enum().FullName())
				}
				lines = append(lines, fmt.Sprintf("%s %d %s %s%s", f.FullName(), f.Number(), f.Cardinality(), f.Kind(), of))
			}
			fields(m.Messages())
		}
	}
	fields(file.Messages())
	return lines
}

// TestFrozen: what a plugin was built with stays. Whatever is in testdata/v1.txt
// has been released; a line is added there, and never changed or taken out.
func TestFrozen(t *testing.T) {
	text, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	frozen, now := strings.Split(strings.TrimSpace(string(text)), "\n"), contract()
	for _, line := range frozen {
		if !slices.Contains(now, line) {
			t.Errorf("plugins that there are speak this, and it is gone or means something else: %s", line)
		}
	}
	for _, line := range now {
		if !slices.Contains(frozen, line) {
			t.Errorf("this is new; add it to testdata/v1.txt: %s", line)
		}
	}
}
