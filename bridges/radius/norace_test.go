//go:build !race

package radius

// underRace is true where sync.Pool throws away at random.
const underRace = false
