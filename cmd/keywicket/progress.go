package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	barEvery  = 200 * time.Millisecond // at a terminal
	lineEvery = 10 * time.Second       // elsewhere
	barWidth  = 30
)

// A progress tells on standard error how far something long is: with a bar at a
// terminal, elsewhere with a line now and then.
type progress struct {
	w     io.Writer
	bar   bool
	what  string // "checking"
	total int64  // octets; 0: not known

	mu    sync.Mutex
	start time.Time
	last  time.Time
	drawn bool
}

func (a *app) newProgress(what string, total int64) *progress {
	f, ok := a.err.(*os.File)
	now := time.Now()
	return &progress{w: a.err, bar: ok && term.IsTerminal(int(f.Fd())), what: what, total: total, start: now, last: now}
}

// show tells that octets were read and accounts are done, if it is time to.
func (p *progress) show(octets, accounts int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, every := time.Now(), lineEvery
	if p.bar {
		every = barEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	if text := p.text(octets, accounts, now.Sub(p.start)); p.bar {
		fmt.Fprint(p.w, "\r\x1b[K"+text)
		p.drawn = true
	} else {
		fmt.Fprintln(p.w, text)
	}
}

func (p *progress) text(octets, accounts int64, took time.Duration) string {
	text := fmt.Sprintf("%d accounts, %.0f/s", accounts, float64(accounts)/took.Seconds())
	if p.total > 0 {
		part := min(float64(octets)/float64(p.total), 1)
		text = fmt.Sprintf("%3.0f %%, %s", 100*part, text)
		if p.bar {
			done := int(part * barWidth)
			text = "[" + strings.Repeat("#", done) + strings.Repeat(".", barWidth-done) + "] " + text
		}
	}
	return p.what + " " + text
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
