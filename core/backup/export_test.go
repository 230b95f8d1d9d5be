package backup

// WithStep calls step after each step of a restore.
func (o Options) WithStep(step func(name string) error) Options {
	o.step = step
	return o
}

// Kinds returns the prefix of every kind of record.
func Kinds() (all []string) {
	for _, k := range recordKinds() {
		all = append(all, k.prefix)
	}
	return all
}
