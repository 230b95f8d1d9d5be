package radius

import (
	"encoding/binary"
	"strconv"
)

const (
	maxSpelled    = 4 << 20 // octets that are kept of a kind, about; then all is forgotten
	spellingExtra = 64      // of each, for the map
)

// spellings keep the strings that devices and ports were made into, so that
// those who come often are not allocated each time. A nil one keeps none. It is
// for one goroutine.
type spellings struct {
	devices, portIDs, ports spelling
}

// A spelling has the strings of one kind, by what stood in the packet.
type spelling struct {
	known  map[string]string
	octets int
}

func (s *spelling) of(raw []byte, spell func(raw []byte) string) string {
	text, ok := s.known[string(raw)]
	if ok {
		return text
	}
	text = spell(raw)
	s.octets += len(raw) + len(text) + spellingExtra
	if s.known == nil || s.octets > maxSpelled {
		s.known, s.octets = make(map[string]string), 0
	}
	s.known[string(raw)] = text
	return text
}

// device returns what device does.
func (k *spellings) device(raw []byte) string {
	if k == nil {
		return device(raw)
	}
	return k.devices.of(raw, device)
}

// port returns the port of the client that a device is at, or nothing.
func (k *spellings) port(p *packet) string {
	if value, count := p.find(attrNASPortID); count > 0 {
		if k == nil {
			return portID(value)
		}
		return k.portIDs.of(value, portID)
	}
	value, count := p.find(attrNASPort)
	switch {
	case count == 0 || len(value) != 4:
		return ""
	case k == nil:
		return portNumber(value)
	}
	return k.ports.of(value, portNumber)
}

func portID(raw []byte) string { return printable(string(raw)) }

func portNumber(raw []byte) string {
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(raw)), 10)
}
