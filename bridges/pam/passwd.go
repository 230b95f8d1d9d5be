package pam

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/keywicket/keywicket/core"
)

// A passwd is /etc/passwd (passwd(5)), read again when it changes. Users of
// other sources are not in it: they are no system users, and cannot ask for
// themselves.
type passwd struct {
	path string

	mu    sync.Mutex
	info  fs.FileInfo       // of the file as it was read; nil: not there
	names map[uint32]string // of users: the first line of an id counts
	uids  map[string]uint32 // of accounts: the smallest id counts
}

// name returns the name of the user, or nothing.
func (p *passwd) name(uid uint32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh()
	return p.names[uid]
}

// uid returns the id of the user whom the account belongs to, as far as this
// host knows.
func (p *passwd) uid(account string) (uint32, bool) {
	name, err := core.NormalizeAccount(account)
	if err != nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh()
	uid, ok := p.uids[name]
	return uid, ok
}

// refresh reads the file if it changed. While it cannot be read, what was there
// before holds.
func (p *passwd) refresh() {
	info, err := os.Stat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.names, p.uids, p.info = nil, nil, nil
		return
	case err != nil, p.info != nil && os.SameFile(info, p.info) && info.Size() == p.info.Size() && info.ModTime().Equal(p.info.ModTime()):
		return
	}
	f, err := os.Open(p.path)
	if err != nil {
		return
	}
	defer f.Close()
	names, uids := map[uint32]string{}, map[string]uint32{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), ":", 4)
		if len(fields) < 4 || fields[0] == "" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		uid := uint32(id)
		if _, known := names[uid]; !known {
			names[uid] = fields[0]
		}
		name, err := core.NormalizeAccount(fields[0])
		if err != nil {
			continue
		}
		if other, known := uids[name]; !known || uid < other {
			uids[name] = uid
		}
	}
	if lines.Err() != nil {
		return
	}
	p.names, p.uids, p.info = names, uids, info
}
