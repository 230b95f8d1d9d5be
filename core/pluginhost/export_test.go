package pluginhost

import "google.golang.org/grpc"

// Speak makes h one that speaks more versions of the contract than there are. It
// comes before Set.
func (h *Host) Speak(versions ...int) { h.more = versions }

// Dial adds options to the connections of h. It comes before Set.
func (h *Host) Dial(opts ...grpc.DialOption) { h.dial = opts }
