package main

import "strconv"

func enabledWord(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

func onWord(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
