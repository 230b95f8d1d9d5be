package pluginhost

// Speak makes h one that speaks more versions of the contract than there are. It
// comes before Set.
func (h *Host) Speak(versions ...int) { h.more = versions }
