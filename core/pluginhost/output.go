package pluginhost

import (
	"bufio"
	"cmp"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// linesPerSecond is how much of what a plugin says is logged.
const linesPerSecond = 100

// An output writes what a plugin says into the log: as a field, cut, and not
// too much of it.
type output struct {
	log *slog.Logger

	mu     sync.Mutex
	second time.Time
	lines  int
	held   int
	last   string
	crash  string // why a program in Go ends, which says that before its goroutines
	at     time.Time
}

// copy logs what r gives, line by line, until it ends.
func (o *output) copy(r io.Reader) {
	b := bufio.NewReaderSize(r, 2*wire.MaxText)
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			o.line(string(line[:min(len(line), wire.MaxText+1)]))
		}
		for err == bufio.ErrBufferFull { // the rest of a line that is too long
			_, err = b.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// Write takes what a plugin of Go's says through go-plugin.
func (o *output) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		o.line(line)
	}
	return len(text), nil
}

func (o *output) line(line string) {
	line = wire.Text(strings.TrimRight(line, "\r\n"))
	if strings.TrimSpace(line) == "" {
		return
	}
	held, ok := o.pass(line, time.Now())
	switch {
	case !ok:
	case held > 0:
		o.log.Warn("the plugin says", "text", line, "held_back", held)
	default:
		o.log.Info("the plugin says", "text", line)
	}
}

// pass says whether the line may be logged, and how many were not before it.
func (o *output) pass(line string, now time.Time) (held int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = line
	if now.Sub(o.at) > 10*time.Second {
		o.crash = "" // it went on after all
	}
	if o.crash == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		o.crash, o.at = line, now
	}
	if now.Sub(o.second) >= time.Second {
		o.second, o.lines = now, 0
	}
	if o.lines >= linesPerSecond {
		o.held++
		return 0, false
	}
	o.lines++
	held, o.held = o.held, 0
	return held, true
}

// lastLine is the last thing that was said and tells something, cut for a status.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	said := cmp.Or(o.crash, o.last)
	return said[:min(len(said), 200)]
}
