package etcdstore

import "time"

// Patient returns c with so long a silence instead of the usual one.
func (c Config) Patient(silence time.Duration) Config {
	c.silence = silence
	return c
}
