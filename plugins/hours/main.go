package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keywicket/keywicket/plugins/sdk"
)

func main() { sdk.ServeHook(&hours{}) }

// hours is the hook.
type hours struct {
	From string   `json:"from"`
	To   string   `json:"to"`
	Days []string `json:"days"`
	VLAN string   `json:"vlan"`
}

// Configure takes the settings.
func (h *hours) Configure(_ context.Context, s sdk.Settings) error {
	if err := s.Decode(h); err != nil {
		return err
	}
	for _, clock := range []string{h.From, h.To} {
		if _, err := time.Parse("15:04", clock); err != nil || len(clock) != 5 {
			return fmt.Errorf("from and to: %q is no time of day; write it like \"08:00\"", clock)
		}
	}
	for _, day := range h.Days {
		if _, err := time.Parse("Mon", day); err != nil {
			return fmt.Errorf("days: %q is none; write it like \"Mon\"", day)
		}
	}
	return nil
}

// Check implements sdk.Guard.
func (h *hours) Check(_ context.Context, s sdk.SignIn) (sdk.Answer, error) {
	at := s.Time.Local()
	clock := at.Format("15:04")
	open := clock >= h.From && clock < h.To
	if h.To < h.From { // over midnight
		open = clock >= h.From || clock < h.To
	}
	if !open || len(h.Days) > 0 && !slices.Contains(h.Days, at.Format("Mon")) {
		return sdk.Answer{Text: fmt.Sprintf("it is %s, and the door is open from %s to %s", at.Format("Mon 15:04"), h.From, h.To)}, nil
	}
	if h.VLAN == "" {
		return sdk.Answer{Allow: true}, nil
	}
	return sdk.Answer{Allow: true, Reply: []sdk.Attribute{
		{Name: "Tunnel-Type", Value: "VLAN"},
		{Name: "Tunnel-Medium-Type", Value: "IEEE-802"},
		{Name: "Tunnel-Private-Group-Id", Value: h.VLAN},
	}}, nil
}
