package radius

import (
	"encoding/binary"
	"strconv"
)

// maxSpellings is how many spellings of a kind are kept; then all are forgotten.
const maxSpellings = 1 << 15

// spellings keep the strings that devices and ports were made into, so that
// those who come often are not allocated each time. A nil one keeps none. It is
// for one goroutine.
type spellings struct {
	devices, portIDs, ports map[string]string // by what stood in the packet
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

// device returns what device does.
func (k *spellings) device(raw []byte) string {
	if k == nil {
		return device(raw)
	}
	return spelled(&k.devices, raw, device)
}

// port returns the port of the client that a device is at, or nothing.
func (k *spellings) port(p *packet) string {
	if value, count := p.find(attrNASPortID); count > 0 {
		if k == nil {
			return portID(value)
		}
		return spelled(&k.portIDs, value, portID)
	}
	value, count := p.find(attrNASPort)
	switch {
	case count == 0 || len(value) != 4:
		return ""
	case k == nil:
		return portNumber(value)
	}
	return spelled(&k.ports, value, portNumber)
}

func portID(raw []byte) string { return printable(string(raw)) }

func portNumber(raw []byte) string {
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(raw)), 10)
}
