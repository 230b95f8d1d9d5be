package radius

// maxSpellings is how many spellings of a kind are kept; then all are forgotten.
const maxSpellings = 1 << 15

// spellings keep the strings that names and devices were made into, so that
// those who come often are not allocated each time. A nil one keeps none. It is
// for one goroutine.
type spellings struct {
	names, devices map[string]string // by what stood in the packet
}

func spelled(known *map[string]string, raw []byte, spell func(raw []byte) string) string {
	text, ok := (*known)[string(raw)]
	if ok {
		return text
	}
	if *known == nil || len(*known) >= maxSpellings {
		*known = make(map[string]string)
	}
	text = spell(raw)
	(*known)[string(raw)] = text
	return text
}

// name returns a User-Name as a string.
func (k *spellings) name(raw []byte) string {
	if k == nil {
		return string(raw)
	}
	return spelled(&k.names, raw, func(raw []byte) string { return string(raw) })
}

// device returns what device does.
func (k *spellings) device(raw []byte) string {
	if k == nil {
		return device(raw)
	}
	return spelled(&k.devices, raw, device)
}
