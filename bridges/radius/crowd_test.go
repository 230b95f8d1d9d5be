package radius

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

// An answer goes out although others of its client wait, and nobody comes to send
// them with it; and when the server is closed too.
func TestCrowd(t *testing.T) {
	for name, closing := range map[string]bool{"running": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			crowded := make(chan struct{})
			s := loopback(t, testConfig(localClient()), &fakeEngine{verify: func(ctx context.Context, a core.Attempt) (core.Grant, error) {
				if a.Account != testName {
					<-ctx.Done()
					return core.Grant{}, ctx.Err()
				}
				<-crowded
				return core.Grant{}, nil
			}})
			conn, err := net.Dial("udp", s.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := papRequest(0, testName, testPassword)
			queue := &s.table.Load().client(otherSource.Addr()).peer.queue
			for n := 0; n <= maxWorkers+8 || !queue.waits(); n++ {
				raw := request
				if n > 0 {
					raw = papRequest(n, "slow@contoso.com", testPassword)
				}
				if _, err := conn.Write(raw); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			close(crowded)
			if closing {
				for s.Counters().Packets["access-accept"] == 0 {
					time.Sleep(10 * time.Microsecond)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			var buf [4096]byte
			n, err := conn.Read(buf[:])
			if err != nil {
				t.Fatal(err)
			}
			checkReply(t, buf[:n], request, testSecret)
			if !closing && !queue.waits() {
				t.Error("no other waited")
			}
		})
	}
}
