package radius

import (
	"context"
	"testing"
	"time"
)

// R24: a Reject is sent when it is due, and not some whole milliseconds after it was
// known: else its time would tell how long the decision took. On a machine that has
// much to do none is on time; so it may try often.
func TestR24RejectsGoOnTime(t *testing.T) {
	q, sent := newDelays(), make(chan time.Time)
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.run(ctx, func(*delayed) {}, func() { sent <- time.Now() })
	}()
	onTime := 0
	for tries := 0; tries < 40 && onTime < 35; tries++ {
		onTime = 0
		for range 50 {
			due := time.Now().Add(3200 * time.Microsecond)
			if !q.add(due, 1, nil, &path{}, &peer{}, nil) {
				t.Fatal("no room")
			}
			late := (<-sent).Sub(due)
			if late < 0 {
				t.Fatalf("sent %v before it was due", -late)
			}
			if late < 600*time.Microsecond {
				onTime++
			}
			time.Sleep(2 * grain)
		}
	}
	if end(); onTime < 35 {
		t.Errorf("of 50, only %d are sent when they are due", onTime)
	}
	<-done
}
