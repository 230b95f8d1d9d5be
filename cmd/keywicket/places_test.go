package main

import "testing"

// TestPlaces: there are enough, except where the administrator says how many.
func TestPlaces(t *testing.T) {
	for _, tt := range []struct {
		environment string
		n, want     int
	}{
		{"", 1, minPlaces},
		{"", 2, minPlaces},
		{"", minPlaces, 0},
		{"", 64, 0},
		{"2", 2, 0},
		{"1", 1, 0},
	} {
		if got := places(tt.environment, tt.n); got != tt.want {
			t.Errorf("GOMAXPROCS=%q, %d: %d, want %d", tt.environment, tt.n, got, tt.want)
		}
	}
}
