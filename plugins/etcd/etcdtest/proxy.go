package etcdtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A Proxy stands between a store and one member, and can be cut: then nothing
// comes through any more, and nobody hangs up, as when a network fails.
type Proxy struct {
	URL string

	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	cut   chan struct{} // closed while nothing is cut
	conns map[net.Conn]bool
}

// NewProxy starts a proxy to m, which ends with tb.
func NewProxy(tb testing.TB, m *Member) *Proxy {
	tb.Helper()
	u, err := url.Parse(m.URL)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{URL: u.Scheme + "://" + l.Addr().String(), to: u.Host, listener: l, cut: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(p.cut)
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Cut lets nothing through until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = make(chan struct{})
}

// Heal lets everything through again, also what was sent meanwhile.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.cut)
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	select {
	case <-p.cut:
	default:
		close(p.cut)
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			defer from.Close()
			p.wait()
			to, err := net.Dial("tcp", p.to)
			if err != nil {
				return
			}
			defer to.Close()
			p.note(from, to)
			p.running.Go(func() { p.copy(to, from) })
			p.copy(from, to)
		})
	}
}

func (p *Proxy) note(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

func (p *Proxy) wait() {
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	<-cut
}

func (p *Proxy) copy(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.wait()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
